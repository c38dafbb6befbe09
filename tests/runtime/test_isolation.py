"""An installed cell in a network of its own: whom it speaks to, what it opens, how much it takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import installed_station
import pytest
from installed_station import clean_environment
from made_once import made_once

ROOT = Path(__file__).parents[2]
ISOLATE = ["unshare", "--user", "--net", "--map-root-user"]
BROKER = "127.0.0.1:1883"
LARGEST_MEMORY_BYTES = 110_000_000
LISTENING = "0A"
LISTENERS: set[str] = set()
"""Addresses at which a cell takes connections."""
SYSTEM = ("/usr/lib/", "/lib/", "/lib64/", "/usr/share/locale/")
"""Where the C library and what it loads are."""
READ_FACTS = {"/dev/null", "/etc/os-release", "/usr/lib/os-release"}
"""What Python and NumPy ask of any system when they start."""
THREADS = {
    "MainThread": "the loop",
    "network": "the connection to the broker",
    "run-limit": "ends runs that take too long",
}
"""Every thread that a running cell has, and whose it is."""

CONFIG = """
[cell]
site = "test"
name = "cell-0"
task = "power"
neighbours = ["cell-1"]
[bundle]
path = "{bundle}"
[adaptation]
gather_s = 0
[state]
directory = "state"
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What isolated_cell.py saw; its parts are explained there."""
    if shutil.which("mosquitto") is None and find_spec("amqtt") is None:
        pytest.skip("neither mosquitto nor amqtt is installed")
    allowed = shutil.which("unshare") and subprocess.run(
        [*ISOLATE, "true"], check=False, capture_output=True
    )
    if not allowed or allowed.returncode != 0:
        pytest.skip("this system makes no network namespaces for users (unshare --user --net)")
    station = installed_station.station(tmp_path_factory)

    def make(folder: Path) -> None:
        bundle = station / "opt/networld/bundles/current"
        (folder / "cell.toml").write_text(CONFIG.format(bundle=bundle))
        script = Path(__file__).parent / "helpers" / "isolated_cell.py"
        python = station / "opt/networld/current/bin/python"
        done = subprocess.run(
            [*ISOLATE, sys.executable, str(script), str(folder), str(python)],
            env=clean_environment(PYTHONPATH=str(ROOT / "runtime"), ORT_DISABLE_TELEMETRY="1"),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr
        told = {**json.loads(done.stdout), "folder": str(folder), "station": str(station)}
        (folder / "seen.json").write_text(json.dumps(told))

    folder = made_once(tmp_path_factory, "isolated", make)
    data: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return data


def homes(seen: dict[str, Any]) -> tuple[str, ...]:
    """Return the folders that a cell may read: software, bundle, Python, the system's libraries."""
    real = Path(seen["station"], "opt/networld/current/bin/python").resolve().parents[1]
    return (f"{seen['station']}/", f"{real}/", f"{sys.base_prefix}/", *SYSTEM)


def test_the_cell_acted_and_adapted_and_ended_well(seen: dict[str, Any]) -> None:
    assert seen["answered"] == 200
    assert seen["training"]["report"]["ok"], seen["training"]["report"]
    assert seen["code"] == 0, seen["log"]


def test_its_only_connection_is_the_brokers(seen: dict[str, Any]) -> None:
    sockets = [one.split() for one in seen["sockets"]]
    assert {here for _, state, here, *_ in sockets if state == LISTENING} == LISTENERS
    sockets = [one for one in sockets if one[1] != LISTENING]
    assert all(kind == "tcp" and state == "01" for kind, state, *_ in sockets), sockets
    pairs = {(here, there) for _, _, here, there in sockets}
    inside = {pair for pair in pairs if pair[::-1] in pairs}
    assert not inside  # no connection of the process to itself
    assert [there for _, there in pairs - inside] == [BROKER]


def test_it_names_no_other_address(seen: dict[str, Any]) -> None:
    named = {line for line in seen["told"]["connected"] if "bind" not in line}
    own = {line.rpartition(", ")[2].strip(")") for line in named}
    assert all("127.0.0.1" in line for line in named), named
    assert BROKER.split(":")[1] in own


def test_nothing_in_it_looks_outside(seen: dict[str, Any]) -> None:
    """Also libraries that are not Python's: the kernel counts whoever asks for a way that is not there."""
    assert seen["refused"]
    assert seen["without_route_after_a_look_outside"] > seen["without_route"], "the measure is deaf"
    assert seen["without_route"] == 0


def test_every_thread_is_known(seen: dict[str, Any]) -> None:
    named = seen["told"]["threads"]
    assert {str(task) for task in seen["tasks"]} == set(named), (
        "a library started threads of its own"
    )
    assert set(named.values()) == set(THREADS)


def test_it_writes_in_its_state_folder_alone(seen: dict[str, Any]) -> None:
    state = f"{seen['folder']}/state/"
    written = [path for path in seen["told"]["written"] if path != "/dev/null"]
    assert written
    assert [path for path in written if not path.startswith(state)] == []
    assert seen["home"] == []
    left = {path.name for path in Path(seen["folder"]).iterdir()} - {"mosquitto.conf"}
    assert left == {"cell.toml", "home", "state", "seen.json"}


def test_it_opens_nothing_but_software_bundle_configuration_and_state(seen: dict[str, Any]) -> None:
    own = (*homes(seen), f"{seen['folder']}/state")
    allowed = READ_FACTS | {f"{seen['folder']}/cell.toml"}
    opened = [path for path in seen["told"]["opened"] if path not in allowed]
    assert len(opened) > 50
    assert [path for path in opened if not path.startswith((*own, "/proc/"))] == []
    mapped = [path for path in seen["maps"] if path.startswith("/")]
    assert [path for path in mapped if not path.startswith(own)] == []
    links = [link for link in seen["descriptors"] if link.startswith("/")]
    assert set(links) <= {"/dev/null"}


def test_its_training_speaks_to_nobody_and_yields(seen: dict[str, Any]) -> None:
    training = seen["training"]
    assert training["sockets"] == []
    assert os.SCHED_IDLE in training["policy"]
    own = (*homes(seen), f"{seen['folder']}/state", "/dev/null", "pipe:", "/proc/")
    assert training["files"]
    assert [link for link in training["files"] if not link.startswith(own)] == []


def test_it_takes_little_memory(seen: dict[str, Any]) -> None:
    number, unit = seen["memory"].split()
    assert unit == "kB"
    assert int(number) * 1024 <= LARGEST_MEMORY_BYTES
