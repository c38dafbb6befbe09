"""Radios of other distributions: found by their entry point, made, and every mistake told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from networld_runtime import cli
from networld_runtime.checked_radio import CheckedRadio
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.radio import MqttRadio, Radio
from networld_runtime.radio_kinds import make_radio

SOURCE = """
from collections import Counter
from networld_runtime.errors import ConfigError

class Own:
    def __init__(self, setup):
        self.setup, self.counters = setup, Counter()
        if "gain" in setup.options:
            self.gain_db = 10 / setup.options["gain"]
        if "file" in setup.options:
            self.file = setup.path("file")
    def observe(self, timeout_s): ...
    def act(self, observation, action): ...
    def close(self): ...

class Half:
    def __init__(self, setup): ...
    def act(self, observation, action): ...

def nothing(setup): ...

number = 3
"""


def install(folder: Path, kinds: dict[str, str], package: str = "own") -> None:
    """Install the radios as pip would."""
    (folder / "own_radio.py").write_text(SOURCE)
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{kind} = {point}" for kind, point in kinds.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[networld.radio]", *lines]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_radio", raising=False)
    return folder


def make(config_file: Path, toy: Any, *changes: str) -> Radio:
    return make_radio(configured(config_file, *changes), toy, MemoryTransport(MemoryBus()))


def configured(config_file: Path, *changes: str) -> Config:
    return load_config(config_file, [f"radio.{change}" for change in changes], {})


def problem(config_file: Path, toy: Any, *changes: str) -> str:
    with pytest.raises(ConfigError) as caught:
        make(config_file, toy, *changes)
    return str(caught.value)


def test_mqtt_is_the_default(config_file: Path, toy: Any) -> None:
    assert isinstance(make(config_file, toy), MqttRadio)
    assert isinstance(make(config_file, toy, "kind=mqtt"), MqttRadio)


def test_installed_radio_is_told_all_it_needs(config_file: Path, toy: Any, folder: Path) -> None:
    install(folder, {"own": "own_radio:Own"})
    config_file.write_text(
        config_file.read_text() + '[radio]\nkind = "own"\noptions = { gain = 2, file = "f" }\n'
    )
    radio = make(config_file, toy)
    assert isinstance(radio, CheckedRadio)
    own: Any = radio._radio
    assert own.gain_db == 5
    assert own.file == config_file.parent / "f"
    setup = own.setup
    assert (setup.site, setup.cell, setup.neighbours) == ("test", "a", ("b", "c"))
    assert setup.contract is toy.contract
    assert (setup.couplings, setup.slot_s) == (2, 0.1)


def test_unknown_kind_lists_what_is_installed(config_file: Path, toy: Any, folder: Path) -> None:
    install(folder, {"own": "own_radio:Own"})
    assert problem(config_file, toy, "kind=owm") == (
        f"{config_file}: radio.kind = 'owm' (command line --set radio.kind): no such radio is "
        "installed, only mqtt, own, synthetic; install the package that adds it, or take one of these"
    )


@pytest.mark.parametrize(
    ("point", "changes", "said"),
    [
        ("own_radio:Own", ["options.gain=0"], "cannot be made, ZeroDivisionError"),
        ("own_radio:Own", ["options.file=3"], "radio.options: file = 3, expected a path"),
        ("own_radio:nothing", [], "made None, which lacks observe, act, close, counters"),
        ("own_radio:Half", [], "which lacks observe, close, counters"),
        ("own_radio:number", [], "own_radio:number of own is 3, expected a class or function"),
        ("own_radio:Missing", [], "own_radio:Missing of own cannot be imported, AttributeError"),
        ("no_such_module:Own", [], "cannot be imported, ModuleNotFoundError"),
    ],
)
def test_radio_that_cannot_be_made_is_told(
    point: str, changes: list[str], said: str, config_file: Path, toy: Any, folder: Path
) -> None:
    install(folder, {"own": point})
    assert said in problem(config_file, toy, "kind=own", *changes)


def test_kind_that_two_packages_add(config_file: Path, toy: Any, folder: Path) -> None:
    install(folder, {"own": "own_radio:Own"})
    install(folder, {"own": "own_radio:Half"}, "other")
    assert "own_radio:Half of other, own_radio:Own of own" in problem(config_file, toy, "kind=own")


def test_nobody_else_is_mqtt(config_file: Path, toy: Any, folder: Path) -> None:
    install(folder, {"mqtt": "own_radio:Own"})
    assert isinstance(make(config_file, toy), MqttRadio)


def test_missing_path_is_told(config_file: Path, toy: Any, folder: Path) -> None:
    install(folder, {"own": "own_radio:Own"})
    radio: Any = make(config_file, toy, "kind=own")
    with pytest.raises(ConfigError, match="trace: missing, expected a path"):
        radio._radio.setup.path("trace")


def test_command_ends_with_3(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(__file__).parents[2] / "bundles" / "networld"
    monkeypatch.setenv("NETWORLD_BUNDLE__PATH", str(bundle))
    for command in ("check", "run"):
        arguments = [command, "--config", str(config_file), "--set", "radio.kind=none"]
        assert cli.main(arguments) == 3
        assert "no such radio is installed, only mqtt" in capsys.readouterr().err
