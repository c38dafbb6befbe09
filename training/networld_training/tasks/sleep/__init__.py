"""Task `sleep`: which cells sleep, and how users are shared among those awake."""

from networld_training.tasks.sleep.network import SleepNetwork
from networld_training.tasks.sleep.task import SleepTask

__all__ = ["SleepNetwork", "SleepTask"]
