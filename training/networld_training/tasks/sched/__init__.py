"""Task `sched`: queue-aware downlink scheduling with muting."""

from networld_training.tasks.sched.network import SchedNetwork
from networld_training.tasks.sched.task import MUTE, SchedTask

__all__ = ["MUTE", "SchedNetwork", "SchedTask"]
