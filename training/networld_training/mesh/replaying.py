"""Playing a recording into the view, and to a broker if one is given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from networld_runtime.errors import DataError
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.recording import Recording
from networld_runtime.mesh.replay import Pace, ReplayTransport
from networld_training.mesh.broadcast import Broadcast
from networld_training.mesh.history import History
from networld_training.mesh.mesh_report import MeshReport
from networld_training.mesh.seen_mesh import ALL_SITES, SeenMesh
from networld_training.mesh.settings import MeshSettings
from networld_training.mesh.view import DRAW_EVERY_S, make_view
from networld_training.mesh.watching import connected, new_client_id

MOST_LOOKS = 2000


@dataclass(frozen=True)
class Survey:
    """What a recording holds, as far as it is good.

    Attributes:
        duration_s: Until its end.
        messages: How many.
        missing: How many its recorder could not keep.
        cut: How it was cut; None if it was not.
        damage: Why the rest cannot be read; None if all can.
    """

    duration_s: float
    messages: int
    missing: int
    cut: str | None
    damage: DataError | None


def survey(recording: Recording) -> Survey:
    """Read a recording from beginning to end and keep nothing of it."""
    duration_s, count, damage = 0.0, 0, None
    try:
        for message in recording.messages():
            duration_s, count = message.time_s, count + 1
    except DataError as error:
        damage = error
    end = recording.end
    if end is None:
        return Survey(duration_s, count, 0, recording.cut, damage)
    return Survey(max(duration_s, end.time_s), count, end.missing, None, damage)


def replay(
    settings: MeshSettings, console: Console, history: bool
) -> tuple[MeshReport, History | None, DataError | None]:
    """Play a recording; return what was seen at its end, how it came to be, and what is wrong with the file.

    Args:
        settings: What to play, and how.
        console: Where it is shown.
        history: Whether it is wanted.

    Raises:
        DataError: The file is no recording, or of a newer version.
        BrokerError: The broker cannot be reached, or is gone while the recording is played.
        ConfigError: Cells of that site are online at the broker.
    """
    assert settings.replay is not None  # noqa: S101
    recording = Recording(settings.replay)
    found = survey(recording)
    speed = _speed(settings, console)
    console.print(_announcement(recording, found, speed), highlight=False, soft_wrap=True)
    mesh = SeenMesh()
    transport = ReplayTransport(recording.messages(), Pace(speed))

    def take(topic: str, payload: bytes, retained: bool) -> None:
        mesh.take(topic, payload, retained, transport.now_s)

    transport.watch("#", take)
    transport.connect()
    look_s = max(DRAW_EVERY_S, found.duration_s / MOST_LOOKS)
    past = History(found.duration_s) if history else None
    one_site = recording.header.site != ALL_SITES
    where = f"site {recording.header.site}" if one_site else "all sites"
    report = mesh.look(0.0)
    with (
        _broadcast(settings, recording, transport) as broadcast,
        make_view(console, f"{where} in {settings.replay}", one_site) as view,
    ):
        try:
            for until_s in _looks(found.duration_s, look_s):
                transport.play(until_s)
                if broadcast is not None:
                    broadcast.check()
                report = mesh.look(until_s)
                view.show(report)
                if past is not None:
                    past.add(report)
        except DataError:  # the survey has it already
            report = mesh.look(found.duration_s)
        except KeyboardInterrupt:
            report = mesh.look(transport.now_s)
    return report, past, found.damage


def _looks(duration_s: float, look_s: float) -> Iterator[float]:
    for number in range(1, math.ceil(duration_s / look_s)):
        yield number * look_s
    yield duration_s


def _speed(settings: MeshSettings, console: Console) -> float:
    if settings.speed_factor is not None:
        return settings.speed_factor
    wants_files = settings.picture is not None or settings.json is not None
    shown = console.is_terminal and not wants_files
    return 1.0 if shown or settings.broker is not None else math.inf


def _announcement(recording: Recording, found: Survey, speed: float) -> str:
    site = recording.header.site
    text = (
        f"{recording.path}: {'all sites' if site == ALL_SITES else f'site {site}'}, "
        f"{found.messages} messages in {found.duration_s:.1f} s"
    )
    if speed != math.inf:
        text += f", takes {found.duration_s / speed:.0f} s"
    if found.missing:
        text += f"; {found.missing} messages are missing in it, its recorder could not keep them"
    if found.cut is not None:
        text += f"; cut: {found.cut}; what came before is shown"
    return text


@contextmanager
def _broadcast(
    settings: MeshSettings, recording: Recording, source: ReplayTransport
) -> Iterator[Broadcast | None]:
    if settings.broker is None:
        yield None
        return
    target = MqttTransport(settings.broker_config(), new_client_id())
    broadcast = Broadcast(target, recording.header, settings.as_site)
    with connected(target):
        broadcast.check_quiet()
        source.watch("networld/#", broadcast.send)
        try:
            yield broadcast
        finally:
            broadcast.leave()
