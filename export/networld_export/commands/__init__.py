"""Sub-commands that export adds to `networld`."""
