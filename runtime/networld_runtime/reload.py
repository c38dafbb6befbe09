"""Takes a changed configuration over while the cell goes on: all of it or nothing.

A candidate is read, checked and, if it plans otherwise, gets a planner that has run, in a thread of its
own; the loop only takes over what is finished, between two slots.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_keys import LIVE, differences, origin_of, plain_values, shown
from networld_runtime.errors import BundleError, ConfigError, NetWorldError
from networld_runtime.mesh.authentication import NoSeal, Seal, make_seal
from networld_runtime.planner_like import PlannerLike
from networld_runtime.startup import adaptation_settings, load_model

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reload:
    """What a cell goes on with.

    Attributes:
        config: The configuration.
        planner: The planner, warm; None if it plans as before.
        bundle: Digest of the planner's bundle.
        seal: Proves who sent a payload, with the keys as they are in their files now.
    """

    config: Config
    planner: PlannerLike | None
    bundle: str
    seal: Seal = field(default_factory=NoSeal)


class Reloader:
    """Answers requests to read the configuration again.

    Args:
        config: The configuration in use.
        bundle: The bundle in use.
        read: Reads and checks the configuration as it is now.
    """

    def __init__(self, config: Config, bundle: Bundle, read: Callable[[], Config]) -> None:
        self.counters: Counter[str] = Counter()
        """`taken`, `refused`."""
        self._config = config
        self._bundle = bundle
        self._read = read
        self._requested = False
        self._thread: threading.Thread | None = None
        self._outcome: Reload | NetWorldError | None = None

    def change_bundle(self, bundle: Bundle) -> None:
        """Note that the cell runs another bundle now."""
        self._bundle = bundle

    def request(self) -> None:
        """Ask for a reload; does nothing else, so that a signal handler may call it."""
        self._requested = True

    def poll(self) -> Reload | None:
        """Go on with a reload; return what to take over when there is something, once."""
        if self._thread is not None:
            return None if self._thread.is_alive() else self._finish()
        if self._requested:
            self._requested = False
            self._thread = threading.Thread(target=self._prepare, name="reload", daemon=True)
            self._thread.start()
        return None

    def _prepare(self) -> None:
        try:
            self._outcome = self._candidate()
        except NetWorldError as error:
            self._outcome = error
        except Exception as error:  # whatever it is, the cell goes on as it was
            self._outcome = NetWorldError(
                str(self._config.path), f"{type(error).__name__}: {error}"
            )

    def _candidate(self) -> Reload:
        config = self._read()
        changed = differences(self._config, config)
        problems = [self._fixed(config, key) for key in changed if key not in LIVE]
        if problems:
            raise ConfigError(str(config.path), problems)
        adaptation_settings(config, self._bundle)
        seal = make_seal(config)
        if not any(key.startswith("planner.") for key in changed):
            return Reload(config, None, self._bundle.digest, seal)
        bundle, planner = load_model(config)
        if bundle.digest != self._bundle.digest:
            raise BundleError(
                str(bundle.path),
                "is not the bundle that the cell runs; restart the agent to run it",
            )
        planner.warm_up()
        return Reload(config, planner, bundle.digest, seal)

    def _finish(self) -> Reload | None:
        outcome, self._outcome, self._thread = self._outcome, None, None
        if (
            isinstance(outcome, Reload)
            and outcome.planner
            and outcome.bundle != self._bundle.digest
        ):
            text = "the bundle was changed meanwhile; send the signal again"
            outcome = BundleError(str(self._bundle.path), text)
        if not isinstance(outcome, Reload):
            self.counters["refused"] += 1
            _log.error("configuration not reloaded, nothing changed: %s", outcome)
            return None
        self.counters["taken"] += 1
        changed = differences(self._config, outcome.config)
        told = _told(self._config, outcome.config, changed) or "nothing changed"
        _log.info("configuration reloaded: %s", told)
        self._config = outcome.config
        return outcome

    def _fixed(self, config: Config, key: str) -> str:
        change = _told(self._config, config, [key])
        return (
            f"{change} ({origin_of(config, key)}): a running cell cannot take this over; restart the "
            "agent, or set it back"
        )


def _told(before: Config, after: Config, keys: Sequence[str]) -> str:
    old, new = plain_values(before), plain_values(after)
    return ", ".join(
        f"{key} = {_text(key, old.get(key))} -> {_text(key, new.get(key))}" for key in keys
    )


def _text(key: str, value: object) -> str:
    return "not given" if value is None else json.dumps(shown(key, value))
