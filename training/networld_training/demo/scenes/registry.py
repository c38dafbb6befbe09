"""The tasks that can be demonstrated."""

from __future__ import annotations

from collections.abc import Mapping

from networld_training.demo.scenes.power import POWER_SCENE
from networld_training.demo.scenes.scene import Scene
from networld_training.demo.scenes.sched import SCHED_SCENE
from networld_training.demo.scenes.sleep import SLEEP_SCENE

SCENES: Mapping[str, Scene] = {"power": POWER_SCENE, "sched": SCHED_SCENE, "sleep": SLEEP_SCENE}
"""What is shown of a task, by the task's name."""
