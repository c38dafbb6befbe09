"""Sub-commands of `networld`; each module has `add_parser` and `run`."""
