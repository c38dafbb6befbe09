"""Changes the bundle of a running cell between two slots, watches it, and takes it back if it is no good.

Nothing here holds up a slot: what takes long, or writes to the disk, is done in a thread beside the loop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.errors import BundleError, NetWorldError
from networld_runtime.planner_like import PlannerLike
from networld_runtime.realtime import monotonic_s
from networld_runtime.startup import build_model, open_store
from networld_runtime.store import activation
from networld_runtime.store.folder import Store
from networld_runtime.store.probation import Probation

_log = logging.getLogger(__name__)

LOOK_S = 0.5
RETRY_S = 30.0
JOIN_S = 5.0

Model = tuple[Bundle, PlannerLike]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Change:
    """What has happened to the bundle.

    Attributes:
        report: What to tell.
        model: Bundle and planner to act with from now on; None to go on with the same.
    """

    report: dict[str, Any]
    model: Model | None = None


class _Work(Generic[Result]):
    """A function that runs in a thread of its own."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self.result: Result | None = None
        self.error: Exception | None = None
        self._function = function
        self.thread = threading.Thread(target=self._run, name="bundle", daemon=True)
        self.thread.start()

    @property
    def done(self) -> bool:
        return not self.thread.is_alive()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except Exception as error:  # told by who waits for it; the loop must go on
            self.error = error


class BundleKeeper:
    """Follows the store of one cell; does nothing where the configuration names no store.

    Args:
        config: Names the store, and how long a probation is.
        bundle: The bundle that the cell started with.
        planner: Its planner.
    """

    def __init__(self, config: Config, bundle: Bundle, planner: PlannerLike) -> None:
        self._config = config
        self._store = None if config.bundle.store is None else Store(config.bundle.store)
        self._running: Model = (bundle, planner)
        self._before: Model | None = None
        self._probation: Probation | None = None
        self._refused: set[str] = set()
        self._failed: set[str] = set()  # on probation, with nothing to go back to
        self._work: _Work[Any] | None = None
        self._finish: Callable[[_Work[Any]], Change | None] | None = None
        self._unnoted: tuple[str, str] | None = None
        self._stamp: tuple[int, int] | None = None
        self._look_s = self._settle_s = 0.0
        self._counted = (0, 0, 0)
        if self._store is not None:
            self._begin_probation(self._store)

    @property
    def state(self) -> str:
        """What is said of the bundle: `fixed`, `proven`, `probation` or `failed`."""
        if self._store is None:
            return "fixed"
        if self._running[0].digest in self._failed:
            return "failed"
        return "proven" if self._probation is None else "probation"

    def poll(self, slots: int, missed: int, failures: int) -> Change | None:
        """Go on with what is under way; call between two slots, and often.

        Args:
            slots: Slots since the cell started.
            missed: Deadlines missed in them.
            failures: Slots in them in which something else stood in for the planner.

        Returns:
            What has happened, None if nothing.
        """
        if self._store is None:
            return None
        self._count((slots, missed, failures))
        if self._work is not None:
            if not self._work.done or self._finish is None:
                return None
            work, finish = self._work, self._finish
            self._work = self._finish = None
            return finish(work)
        if monotonic_s() >= self._settle_s:
            if self._unnoted is not None:
                self._note(self._store, *self._unnoted)
            elif self._probation is not None and self._probation.failed:
                return self._take_back(self._store, self._probation)
            elif self._probation is not None and self._probation.passed:
                self._commit(self._store, self._probation)
        if self._work is None:
            self._look(self._store)
        return None

    def go_on_with(self, config: Config, planner: PlannerLike | None) -> None:
        """Go on with another configuration, and with another planner of the same bundle if there is one.

        The bundle before was loaded by other settings then: to go back to it, it is loaded anew.
        """
        self._config = config
        if planner is not None:
            self._running, self._before = (self._running[0], planner), None

    def stop(self, *, ended_well: bool) -> None:
        """Leave the store: a start that ended well does not count against a bundle on probation."""
        if self._work is not None:
            self._work.thread.join(JOIN_S)
        if self._store is not None and self._probation is not None and ended_well:
            try:
                activation.forgive_start(self._store)
            except BundleError as error:
                _log.warning("a start that ended well cannot be noted: %s", error)

    def _begin_probation(self, store: Store) -> None:
        """Watch the running bundle if it has yet to prove itself."""
        try:
            record = store.record()
        except BundleError as error:
            _log.warning("the bundle store cannot be followed: %s", error)
            return
        self._probation = None
        if record.on_probation and record.current == self._running[0].digest:
            settings = self._config.bundle
            self._probation = Probation(settings.probation_slots, settings.probation_bad_slots)

    def _count(self, counted: tuple[int, int, int]) -> None:
        slots, missed, failures = (
            new - old for new, old in zip(counted, self._counted, strict=True)
        )
        self._counted = counted
        if self._probation is not None and slots > 0:
            self._probation.count(slots, missed, failures)

    def _look(self, store: Store) -> None:
        """Notice that another bundle is to be used, and begin to load it."""
        now_s = monotonic_s()
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        stamp = store.stamp()
        if stamp is None or stamp == self._stamp:
            return
        try:
            record = store.record()
        except BundleError as error:
            self._stamp = stamp
            _log.warning("the bundle store cannot be followed: %s", error)
            return
        self._stamp = stamp
        digest = record.current
        if digest == self._running[0].digest:
            self._refused.clear()
            if record.on_probation != (self._probation is not None):
                self._begin_probation(store)  # activated once more, or settled by somebody else
            return
        if digest is None or digest in self._refused or self._unnoted is not None:
            return
        self._refused.add(digest)  # until it is loaded: it is tried once
        self._begin_load(store, digest)

    def _begin_load(self, store: Store, digest: str) -> None:
        config = self._config
        self._begin(
            lambda: self._load(store, digest, config),
            lambda work: self._adopt(digest, work, config),
        )

    def _begin(
        self, function: Callable[[], Any], finish: Callable[[_Work[Any]], Change | None]
    ) -> None:
        self._finish = finish
        self._work = _Work(function)

    def _load(self, store: Store, digest: str, config: Config) -> Model:
        """Load and warm a bundle, in the thread; it is taken back where that fails.

        Raises:
            Exception: Whatever goes wrong; the message is for a person.
        """
        record = activation.count_start(store)
        if record.current != digest:
            raise BundleError(str(store.path), f"bundle {digest[:12]} is not in use any more")
        try:
            keys = open_store(config).keys
            bundle, planner = activation.load(
                store, digest, keys, lambda path: build_model(config, path)
            )
            planner.warm_up()
        except Exception as error:
            activation.take_back(store, digest, f"does not load: {_text(error)}")
            raise
        if not self._fits(bundle):
            activation.forgive_start(store)
        return bundle, planner

    def _fits(self, bundle: Bundle) -> bool:
        """Return whether radio, neighbours and logs need not know that the bundle is another one."""
        running = self._running[0]
        return (bundle.contract, bundle.couplings) == (running.contract, running.couplings)

    def _adopt(self, digest: str, work: _Work[Model], config: Config) -> Change | None:
        """Hand over what was loaded, or say why not; load it again if it is to plan otherwise by now."""
        if self._store is not None and self._config.planner != config.planner:
            self._begin_load(self._store, digest)
            return None
        if work.result is None:
            _log.error("bundle %s is not used: %s", digest[:12], _text(work.error))
            return Change(self._report("refused", digest, _text(work.error)))
        if not self._fits(work.result[0]):
            problem = "another contract: it is used when the cell is started again"
            return Change(self._report("waiting", digest, problem))
        self._before, self._running = self._running, work.result
        self._refused.discard(digest)
        if self._store is not None:
            self._begin_probation(self._store)
        if self._probation is None:
            self._before = None
        return Change(self._report("activated", digest), self._running)

    def _take_back(self, store: Store, probation: Probation) -> Change | None:
        """Act with the bundle before at once if it is still loaded; note it, and load it otherwise."""
        failed = self._running[0].digest
        reason = f"failed its probation: {probation}"
        _log.error("bundle %s is taken back: %s", failed[:12], reason)
        model, self._before, self._probation = self._before, None, None
        self._refused.add(failed)
        if model is not None:
            self._running = model
            self._note(store, failed, reason)
            return Change(self._report("taken back", failed, reason), model)

        def finish(work: _Work[bool]) -> Change | None:
            if work.error is not None:
                _log.error("what was taken back cannot be noted: %s", _text(work.error))
                self._probation, self._settle_s = probation, monotonic_s() + RETRY_S
                return None
            if not work.result:
                self._failed.add(failed)
                return Change(self._report("failed", failed, f"{reason}; no bundle to go back to"))
            self._stamp = None  # look again: what is in use now is loaded
            return Change(self._report("taken back", failed, reason))

        self._begin(lambda: activation.take_back(store, failed, reason), finish)
        return None

    def _note(self, store: Store, failed: str, reason: str) -> None:
        """Write down that a bundle was taken back; a full disk may take it later."""

        def finish(work: _Work[bool]) -> Change | None:
            if work.error is not None:
                _log.error("what was taken back cannot be noted: %s", _text(work.error))
                self._unnoted, self._settle_s = (failed, reason), monotonic_s() + RETRY_S
            return None

        self._unnoted = None
        self._begin(lambda: activation.take_back(store, failed, reason), finish)

    def _commit(self, store: Store, probation: Probation) -> None:
        bundle = self._running[0]

        def finish(work: _Work[None]) -> Change | None:
            if work.error is not None:  # a full disk, say: tried again later
                _log.warning("a bundle that is good cannot be noted: %s", _text(work.error))
                self._settle_s = monotonic_s() + RETRY_S
                return None
            self._probation = self._before = None
            return Change({**self._report("committed", bundle.digest), "probation": str(probation)})

        self._begin(lambda: activation.commit(store, bundle.digest, bundle.version), finish)

    def _report(self, event: str, digest: str, problem: str | None = None) -> dict[str, Any]:
        report = {
            "report": "bundle",
            "id": None,
            "ok": problem is None,
            "event": event,
            "bundle": digest,
            "running": self._running[0].digest,
        }
        return report if problem is None else {**report, "problem": problem}


def _text(error: Exception | None) -> str:
    if isinstance(error, NetWorldError):
        return str(error)
    return f"{type(error).__name__}: {error}"
