"""What goes wrong with messages in an experiment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from networld_runtime.config import TimingConfig
from networld_runtime.errors import check_values
from networld_runtime.mesh.message import BITS
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.tasks.base import Task

MAXIMUM_AGE_SLOTS = TimingConfig().maximum_message_age_slots


@dataclass(frozen=True)
class Conditions:
    """How messages are sent, arrive and are weighed.

    Attributes:
        loss: Chance that a message to one neighbour is lost; an older one stands in (`Mailbox`).
        silent: Cells that tell nothing in the whole episode, though they act; the first ones, whose place
            says nothing.
        deaf: Whether no message arrives at all.
        bits: Bits of a value in a message, 8 or 4; None takes 8.
        age_weight: By this a message counts less with each slot that it is older than one, as
            `mesh.age_weight` of a cell; None takes 1.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    loss: float = 0.0
    silent: int = 0
    deaf: bool = False
    bits: int | None = None
    age_weight: float | None = None

    def __post_init__(self) -> None:
        check_values(
            "messages",
            self,
            (
                ("loss", 0 <= self.loss <= 1, "0 to 1"),
                ("silent", self.silent >= 0, "0 or more"),
                ("bits", self.bits is None or self.bits in BITS, "8 or 4"),
                (
                    "age_weight",
                    self.age_weight is None or 0 < self.age_weight <= 1,
                    "above 0, at most 1",
                ),
            ),
        )

    def heard(self, task: Task) -> FloatArray | None:
        """Return 1 where a message of the last slot arrived, else 0, `[E, K, n]`; None if all did.

        Losses are drawn from the episodes' own streams.
        """
        if not (self.loss or self.silent or self.deaf):
            return None
        heard = np.ones((*task.shape, task.neighbours.shape[1]))
        if self.loss > 0:
            drawn = [stream.policy.random(heard.shape[1:]) for stream in task.streams]
            heard *= np.stack(drawn) >= self.loss
        speaks: IntArray = (task.neighbours >= self.silent).astype(np.int64)
        return heard * speaks * (not self.deaf)
