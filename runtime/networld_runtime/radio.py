"""The radio as the loop sees it: observations come in, actions go out, the newest wins.

A radio of one's own is written against `Observation`, `Radio` and `RadioSetup`; docs/radio.md says how.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.errors import ConfigError, MessageError
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Transport
from networld_runtime.radio_codec import (
    ActionMessage,
    ObservationMessage,
    decode_observation,
    encode_action,
)
from networld_runtime.realtime import monotonic_s

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

    @classmethod
    def of(cls, message: ObservationMessage, arrived_s: float) -> Observation:
        """Return what a radio measured, with the times of its arrival and of its deadline."""
        return cls(
            message.episode,
            message.slot,
            message.values,
            message.utility,
            arrived_s,
            arrived_s + message.answer_s,
            message.mask,
            message.coupling,
        )


@dataclass(frozen=True)
class RadioSetup:
    """What a radio is made from.

    Attributes:
        site: Name of the network.
        cell: Name of the cell.
        neighbours: Names of its neighbours, in the order of the rows of `Observation.coupling`; empty if the
            cell discovers them, couplings are ignored then.
        contract: Says what an observation holds, what an action may be, and the task's own slot.
        couplings: Numbers `Q` that say how strongly a neighbour acts on the cell.
        slot_s: Length of a slot.
        options: What stands in `[radio.options]`.
        folders: Where relative paths among the options start; see `path`.
    """

    site: str
    cell: str
    neighbours: tuple[str, ...]
    contract: Contract
    couplings: int
    slot_s: float
    options: Mapping[str, Any] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)

    def path(self, option: str) -> Path:
        """Return an option that is a path; a relative one starts at the folder of the file that gave it.

        Raises:
            ConfigError: The option is missing or no path.
        """
        value = self.options.get(option)
        if not isinstance(value, str) or not value or "\0" in value:
            problem = f"{option}: missing" if value is None else f"{option} = {value!r:.60}"
            raise ConfigError("radio.options", f"{problem}, expected a path")
        return self.folders.get(option, Path()) / value


class Radio(Protocol):
    """Where observations come from and actions go to; one thread calls all of it."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What was counted so far, for reports.

        The MQTT radio counts `received`, `overtaken` (a newer one came before it was used), `clipped` (a
        value so far out of its feature's range that `Contract.normalise` clips it) and `rejected_*`.
        """
        ...

    def observe(self, timeout_s: float) -> Observation | None:
        """Return the newest observation not yet returned, None if none came in time."""
        ...

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Set the action `[C]`, in native units, for the slot of `observation`."""
        ...

    def close(self) -> None:
        """Give back what the radio holds; nothing is called afterwards."""
        ...


class MqttRadio:
    """`Radio` over the topics `observation` and `action` of a transport.

    Args:
        transport: Carries the payloads.
        topics: The cell's topics.
        contract: Decides shapes and ranges.
        coupling_shape: Neighbours `n` and couplings `Q`; None ignores couplings.
    """

    def __init__(
        self,
        transport: Transport,
        topics: CellTopics,
        contract: Contract,
        coupling_shape: tuple[int, int] | None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._topics = topics
        self._contract = contract
        self._coupling_shape = coupling_shape
        self._arrival = threading.Condition()
        self._newest: Observation | None = None
        self.on_arrival: Callable[[], None] | None = None
        """Called from the network thread when an observation waits; for who serves several radios."""
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
        observation = Observation.of(message, arrived_s)
        with self._arrival:
            if (message.episode, message.slot) == self._last:
                self.counters["rejected_repeated"] += 1
                return
            self._last = (message.episode, message.slot)
            self.counters["received"] += 1
            told = self._newest is not None  # nobody has come for the one before yet
            self.counters["overtaken"] += told
            self._newest = observation
            self._arrival.notify()
        if self.on_arrival is not None and not told:
            self.on_arrival()

    def observe(self, timeout_s: float) -> Observation | None:
        """Return the newest observation not yet returned, None if none came in time."""
        with self._arrival:
            if self._newest is None and timeout_s > 0:
                self._arrival.wait(timeout_s)
            observation, self._newest = self._newest, None
            return observation

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Publish the action `[C]` for the slot of `observation`."""
        message = ActionMessage(observation.episode, observation.slot, action)
        self._transport.publish(self._topics.action, encode_action(message, self._contract))

    def close(self) -> None:
        """Do nothing: the connection is the transport's."""
