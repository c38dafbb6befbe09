"""Looking on at a mesh of cells: who is there, what they say, recordings; `networld mesh`."""
