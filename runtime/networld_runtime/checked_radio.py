"""Stands between the loop and a radio that somebody else wrote: nothing that it does ends the loop."""

from __future__ import annotations

import logging
import operator
import time
from collections import Counter
from collections.abc import Mapping

import numpy as np

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.radio import CLIPPED_AT, Observation, Radio
from networld_runtime.radio_codec import ObservationMessage, decode_observation, encode_observation
from networld_runtime.realtime import monotonic_s

_log = logging.getLogger(__name__)


class CheckedRadio:
    """A radio whose observations are checked as strictly as those from the network.

    Counts beside what the radio itself counts: `received`, `clipped`, `rejected_*` by reason (`clock` is an
    arrival in the future), `observe_raised`, `act_raised`. The first of each kind is logged.

    Args:
        radio: The radio.
        contract: Decides shapes and ranges.
        coupling_shape: Neighbours `n` and couplings `Q`; None ignores couplings.
    """

    def __init__(
        self, radio: Radio, contract: Contract, coupling_shape: tuple[int, int] | None
    ) -> None:
        self._radio = radio
        self._contract = contract
        self._coupling_shape = coupling_shape
        self._counted: Counter[str] = Counter()
        self._last: tuple[int, int] | None = None

    @property
    def counters(self) -> Mapping[str, int]:
        """Return the radio's own counters and ours."""
        try:
            own = Counter({str(name): int(count) for name, count in self._radio.counters.items()})
        except Exception as error:
            self._count("counters_raised", error)
            own = Counter()
        return own + self._counted

    @property
    def due_s(self) -> float | None:
        """Return when the radio says that its next observation is there; None if it does not say."""
        try:
            due_s = getattr(self._radio, "due_s", None)
            return None if due_s is None else float(due_s)
        except Exception as error:
            self._count("due_raised", error)
            return None

    def observe(self, timeout_s: float) -> Observation | None:
        """Return the radio's observation if there is one that can be used."""
        try:
            observation = self._radio.observe(timeout_s)
        except Exception as error:
            self._count("observe_raised", error)
            time.sleep(timeout_s)  # a radio that is gone raises at once, again and again
            return None
        if observation is None:
            return None
        try:
            checked = self._checked(observation)
        except MessageError as error:
            self._count(f"rejected_{error.reason}", error)
            return None
        except Exception as error:  # an attribute is missing or of a wrong type
            self._count("rejected_malformed", error)
            return None
        self._last = (checked.episode, checked.slot)
        self._counted["received"] += 1
        if (np.abs(self._contract.normalise(checked.values)) >= CLIPPED_AT).any():
            self._counted["clipped"] += 1
        return checked

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Have the radio set a copy of the action, which it may keep and change."""
        try:
            self._radio.act(observation, action.copy())
        except Exception as error:
            self._count("act_raised", error)

    def close(self) -> None:
        """Close the radio."""
        try:
            self._radio.close()
        except Exception as error:
            self._count("close_raised", error)

    def _checked(self, observation: Observation) -> Observation:
        """Return an observation of our own arrays.

        Raises:
            MessageError: It cannot be used.
        """
        arrived_s = float(observation.arrived_s)
        if not arrived_s <= monotonic_s():  # so is NaN
            raise MessageError("clock", f"arrived_s = {arrived_s}: expected time.monotonic()")
        utility = None if observation.utility is None else float(observation.utility)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # what is too large is rejected as infinite
            payload = encode_observation(
                ObservationMessage(
                    operator.index(observation.episode),
                    operator.index(observation.slot),
                    observation.values,
                    utility,
                    float(observation.deadline_s) - arrived_s,
                    observation.mask,
                    observation.coupling,
                ),
                self._contract,
            )
        message = decode_observation(payload, self._contract, self._coupling_shape)
        if (message.episode, message.slot) == self._last:
            raise MessageError("repeated", f"episode {message.episode}, slot {message.slot}")
        return Observation.of(message, arrived_s)

    def _count(self, reason: str, error: Exception) -> None:
        self._counted[reason] += 1
        if self._counted[reason] == 1:  # the counter tells of the others
            _log.error("radio: %s, %s: %s", reason, type(error).__name__, error)
