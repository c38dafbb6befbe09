"""Task `power`: transmit powers for proportionally fair rates."""

from networld_training.tasks.power.task import OFF_DB, PowerNetwork, PowerTask

__all__ = ["OFF_DB", "PowerNetwork", "PowerTask"]
