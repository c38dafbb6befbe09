"""Tasks: what a cell observes, does and is paid for. They own no randomness."""

from networld_training.tasks.power import PowerTask

TASKS = {"power": PowerTask}
