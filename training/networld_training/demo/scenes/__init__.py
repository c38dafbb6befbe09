"""What a demonstration shows of each task: the live table's columns and the right side of the picture."""
