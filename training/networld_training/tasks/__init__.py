"""Tasks: what a cell observes, does and is paid for. They own no randomness."""
