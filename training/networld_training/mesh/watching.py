"""Watching the mesh of a live broker."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError, NetWorldError
from networld_runtime.exit_codes import ExitCode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.recorder import Recorder
from networld_runtime.mesh.replay import RecordingTransport
from networld_runtime.mesh.transport import Transport
from networld_runtime.realtime import monotonic_s
from networld_training.mesh.mesh_report import MeshReport
from networld_training.mesh.seen_mesh import ALL_SITES, SeenMesh, filters
from networld_training.mesh.settings import MeshSettings
from networld_training.mesh.view import DRAW_EVERY_S, View, make_view

HINT_AFTER_S = 5.0


class NothingHeardError(NetWorldError):
    """No cell was there all the time."""

    exit_code = ExitCode.NO_ANSWER


class Watcher:
    """A look at a broker: what is heard goes into a `SeenMesh`, and into a recording if there is one.

    Args:
        broker: The broker.
        site: Name of the site, or `+`.
        all_topics: Whether logs, orders, observations and actions are watched too.
        recorder: Records what is heard; None for nobody.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        site: str,
        all_topics: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        self.mesh = SeenMesh()
        self._began_s = monotonic_s()
        transport: Transport = MqttTransport(broker, new_client_id())
        if recorder is not None:
            transport = RecordingTransport(transport, recorder)
        self.transport = transport
        for topic_filter in filters(site, all_topics):
            transport.watch(topic_filter, self._take)

    def look(self) -> MeshReport:
        """Return how things are now."""
        return self.mesh.look(monotonic_s() - self._began_s, self.transport.connected)

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        self.mesh.take(topic, payload, retained, monotonic_s() - self._began_s)


def watch(settings: MeshSettings, console: Console) -> MeshReport:
    """Watch a site until the time is over or Ctrl-C; return what was seen.

    Raises:
        BrokerError: The broker cannot be reached or refuses us.
        ConfigError: The recording cannot be written, or a password not be read.
    """
    with _recorder(settings) as recorder:
        watcher = Watcher(settings.broker_config(), settings.site, settings.all_topics, recorder)
        with connected(watcher.transport):
            one_site = settings.site != ALL_SITES
            where = f"site {settings.site}" if one_site else "all sites"
            with make_view(console, f"{where} at {settings.broker}", one_site) as view:
                _go_on(settings, watcher.look, view, recorder)
            still = watcher.transport.connected
        # Only now nothing comes any more, so that the recording holds what the table tells.
        report = replace(watcher.look(), connected=still)
    if recorder is not None:
        console.print(_recorded(settings, recorder), highlight=False, soft_wrap=True)
    return report


@contextmanager
def connected(transport: Transport) -> Iterator[None]:
    """Connect and close at the end; errors name the options of the command instead of a cell's file.

    Raises:
        BrokerError: The broker cannot be reached or refuses us.
    """
    try:
        transport.connect()
    except BrokerError as error:
        problem = error.problems[0].split("; ")[0]
        raise BrokerError(
            error.subject,
            f"{problem}; is the broker running, are --broker, --username and --password-file right?",
        ) from error
    try:
        yield
    finally:
        transport.close()


def new_client_id() -> str:
    """Return an identifier that nobody else has: two clients of one name throw each other out."""
    return f"networld-mesh-{secrets.token_hex(6)}"


def _go_on(
    settings: MeshSettings, look: Callable[[], MeshReport], view: View, recorder: Recorder | None
) -> None:
    began_s = monotonic_s()
    end_s = None if settings.seconds is None else began_s + settings.seconds
    hinted = told_lost = told_stopped = False
    try:
        while end_s is None or monotonic_s() < end_s:
            left_s = DRAW_EVERY_S if end_s is None else end_s - monotonic_s()
            time.sleep(min(DRAW_EVERY_S, max(left_s, 0.0)))
            report = look()
            view.show(report)
            if not report.cells and not hinted and monotonic_s() - began_s > HINT_AFTER_S:
                view.say(_hint(settings))
                hinted = True
            if report.connected == told_lost:
                told_lost = not report.connected
                view.say("lost the broker, trying again" if told_lost else "the broker is back")
            stopped = None if recorder is None else recording_problem(recorder)
            if stopped is not None and not told_stopped:
                view.say(f"--record: {stopped}")
                told_stopped = True
    except KeyboardInterrupt:  # the usual end of a look
        return


def _hint(settings: MeshSettings) -> str:
    where = "" if settings.site == ALL_SITES else f" of site {settings.site}"
    others = (
        "does a cell run, and with this broker?"
        if settings.site == ALL_SITES
        else "is the name right? without --site all sites are listed"
    )
    return (
        f"nothing heard{where} for {HINT_AFTER_S:.0f} s: {others} "
        "A broker with access control also tells nothing to a user who may not read."
    )


def recording_problem(recorder: Recorder) -> str | None:
    """Return why a recording has stopped, None while it goes on."""
    if recorder.problem is not None:
        return f"stopped: {recorder.problem}"
    if recorder.counters["full"]:
        return "the file is as large as --record-limit-mb allows, the rest is not recorded"
    return None


@contextmanager
def _recorder(settings: MeshSettings) -> Iterator[Recorder | None]:
    if settings.record is None:
        yield None
        return
    limit_bytes = int(settings.record_limit_mb * 1e6)
    with Recorder(settings.record, settings.site, limit_bytes) as recorder:
        yield recorder


def _recorded(settings: MeshSettings, recorder: Recorder) -> str:
    counters = recorder.counters
    text = (
        f"recorded: {settings.record}, {counters['messages']} messages, {counters['bytes']} bytes"
    )
    if recorder.missing:
        reasons = {
            key: counters[key]
            for key in ("too_large", "too_fast", "full", "failed")
            if counters[key]
        }
        text += f"; not in it: {', '.join(f'{count} {key}' for key, count in reasons.items())}"
    return text if recorder.problem is None else f"{text}; stopped: {recorder.problem}"
