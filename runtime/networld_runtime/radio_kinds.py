"""Finds and makes the radio that a configuration names: ours, or one that a distribution adds.

A distribution adds a radio with an entry point in the group `networld.radio`: its name is the kind, and its
value a class or function that takes a `RadioSetup` and returns a `Radio`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from networld_runtime.bundle import Bundle
from networld_runtime.checked_radio import CheckedRadio
from networld_runtime.config import MQTT, Config
from networld_runtime.config_keys import origin_of
from networld_runtime.errors import ConfigError, NetWorldError
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Transport
from networld_runtime.radio import MqttRadio, Radio, RadioSetup
from networld_runtime.synthetic_radio import SYNTHETIC, SyntheticRadio

GROUP = "networld.radio"
"""Entry-point group: the kind of a radio, and what makes it."""
NEEDED = ("observe", "act", "close")


def make_radio(config: Config, bundle: Bundle, transport: Transport) -> Radio:
    """Return the radio of `[radio]`.

    Raises:
        ConfigError: No such radio is installed, or it cannot be made.
    """
    cell, contract = config.cell, bundle.contract
    # Of neighbours that are discovered radio and cell have no order to name couplings in.
    shape = None if config.mesh.discover else (len(cell.neighbours), bundle.couplings)
    if config.radio.kind == MQTT:
        return MqttRadio(transport, CellTopics(cell.site, cell.name), contract, shape)
    setup = RadioSetup(
        site=cell.site,
        cell=cell.name,
        neighbours=cell.neighbours,
        contract=contract,
        couplings=bundle.couplings,
        slot_s=config.timing.slot_s or contract.slot_s,
        options=config.radio.options,
        folders=config.radio.folders,
    )
    if config.radio.kind == SYNTHETIC:
        return SyntheticRadio(setup)  # ours: nothing between it and the loop
    make = find_maker(config)
    try:
        radio = make(setup)
    except NetWorldError:
        raise  # it says itself what is wrong
    except Exception as error:
        raise _error(config, f"cannot be made, {type(error).__name__}: {error}") from error
    missing = [name for name in NEEDED if not callable(getattr(radio, name, None))]
    missing += [] if hasattr(radio, "counters") else ["counters"]
    if missing:
        raise _error(config, f"made {radio!r:.60}, which lacks {', '.join(missing)}")
    return CheckedRadio(radio, contract, shape)


def find_maker(config: Config) -> Callable[[RadioSetup], Radio]:
    """Return what makes a radio that is not reached over MQTT, without making it.

    Raises:
        ConfigError: It is not installed, installed twice, or cannot be imported.
    """
    if config.radio.kind == SYNTHETIC:
        return SyntheticRadio
    points = [point for point in entry_points(group=GROUP) if point.name == config.radio.kind]
    if not points:
        names = sorted({MQTT, SYNTHETIC, *(point.name for point in entry_points(group=GROUP))})
        raise _error(
            config,
            f"no such radio is installed, only {', '.join(names)}; install the package that adds it, "
            f"or take one of these",
        )
    if len(points) > 1:
        places = ", ".join(sorted(map(_place, points)))
        raise _error(config, f"several packages add it, {places}; uninstall all but one")
    try:
        maker: Callable[[RadioSetup], Radio] = points[0].load()
    except Exception as error:
        raise _error(
            config, f"{_place(points[0])} cannot be imported, {type(error).__name__}: {error}"
        ) from error
    if not callable(maker):
        raise _error(config, f"{_place(points[0])} is {maker!r:.60}, expected a class or function")
    return maker


def _place(point: EntryPoint) -> str:
    owner = "" if point.dist is None else f" of {point.dist.name}"
    return f"{point.value}{owner}"


def _error(config: Config, problem: str) -> ConfigError:
    origin = origin_of(config, "radio.kind")
    where = "" if origin.layer == "file" else f" ({origin})"
    return ConfigError(str(config.path), f"radio.kind = {config.radio.kind!r}{where}: {problem}")
