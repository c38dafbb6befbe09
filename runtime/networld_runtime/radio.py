"""The radio as the loop sees it: observations come in, actions go out, the newest wins."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.radio_codec import (
    ActionMessage,
    decode_observation,
    encode_action,
)
from networld_runtime.realtime import monotonic_s
from networld_runtime.topics import CellTopics
from networld_runtime.transport import Transport

CLIPPED_AT = 1.5


@dataclass(frozen=True)
class Observation:
    """What a cell measured at the beginning of a slot.

    Attributes:
        episode: Number of the episode.
        slot: Running slot number of the site.
        values: The observation `[D]` in native units.
        utility: The cell's own utility in `slot - 1`; None if there was none.
        arrived_s: When it arrived, by `realtime.monotonic_s`.
        deadline_s: Until when the action counts, by the same clock.
        mask: Valid choices in `slot` `[mask_size]`; None if the task has no mask.
        coupling: How strongly each neighbour acts on the cell, linear `[n, Q]`, as its users report; in the
            order of the neighbours. None if the radio does not say.
    """

    episode: int
    slot: int
    values: FloatArray
    utility: float | None
    arrived_s: float
    deadline_s: float
    mask: BoolArray | None = None
    coupling: FloatArray | None = None


class Radio(Protocol):
    """Where observations come from and actions go to.

    Attributes:
        counters: `received`, `overtaken` (a newer one came before it was used), `clipped` (a value so
            far out of its feature's range that `Contract.normalise` clips it) and `rejected_*`.
    """

    counters: Counter[str]

    def observe(self, timeout_s: float) -> Observation | None:
        """Return the newest observation not yet returned, None if none came in time."""
        ...

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Set the action `[C]`, in native units, for the slot of `observation`."""
        ...


class MqttRadio:
    """`Radio` over the topics `observation` and `action` of a transport.

    Args:
        transport: Carries the payloads.
        topics: The cell's topics.
        contract: Decides shapes and ranges.
        coupling_shape: Neighbours `n` and couplings `Q`.
    """

    def __init__(
        self,
        transport: Transport,
        topics: CellTopics,
        contract: Contract,
        coupling_shape: tuple[int, int],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._topics = topics
        self._contract = contract
        self._coupling_shape = coupling_shape
        self._arrival = threading.Condition()
        self._newest: Observation | None = None
        self._last: tuple[int, int] | None = None
        transport.subscribe({topics.observation: self.receive}, fresh=True)

    def receive(self, payload: bytes) -> None:
        """Take a payload from the network thread; one that is rejected is counted, never raised."""
        arrived_s = monotonic_s()
        try:
            message = decode_observation(payload, self._contract, self._coupling_shape)
        except MessageError as error:
            self.counters[f"rejected_{error.reason}"] += 1
            return
        if (np.abs(self._contract.normalise(message.values)) >= CLIPPED_AT).any():
            self.counters["clipped"] += 1
        observation = Observation(
            message.episode,
            message.slot,
            message.values,
            message.utility,
            arrived_s,
            arrived_s + message.answer_s,
            message.mask,
            message.coupling,
        )
        with self._arrival:
            if (message.episode, message.slot) == self._last:
                self.counters["rejected_repeated"] += 1
                return
            self._last = (message.episode, message.slot)
            self.counters["received"] += 1
            self.counters["overtaken"] += self._newest is not None
            self._newest = observation
            self._arrival.notify()

    def observe(self, timeout_s: float) -> Observation | None:
        """Return the newest observation not yet returned, None if none came in time."""
        with self._arrival:
            if self._newest is None:
                self._arrival.wait(timeout_s)
            observation, self._newest = self._newest, None
            return observation

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Publish the action `[C]` for the slot of `observation`."""
        message = ActionMessage(observation.episode, observation.slot, action)
        self._transport.publish(self._topics.action, encode_action(message, self._contract))
