"""Data sets of logged episodes: writing, reading, windows for training."""
