"""systemd's own judgement of the shipped units, and that they agree with what they start."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from networld_runtime import adapter_keeper, cli, errors

FOLDER = Path(__file__).parents[2] / "edge_configs" / "systemd"
UNITS = ("networld-agent@.service", "networld-adapt@.service", "networld-adapt@.timer")
DROP_INS = sorted((FOLDER / "drop-ins").glob("*.conf"))
LARGEST_EXPOSURE = {"networld-agent@.service": 1.5, "networld-adapt@.service": 1.0}
"""By `systemd-analyze security`, from 0 (safe) to 10; below 2 is what it calls OK."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a folder, with a program that this computer has."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "bin" / "networld-agent"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = (FOLDER / name).read_text()
        changed = text.replace("/opt/networld/current/bin/", f"{program.parent}/")
        assert name.endswith(".timer") or changed != text
        (folder / name).write_text(changed)
    return folder


def verify(unit: Path) -> subprocess.CompletedProcess[str]:
    """Let systemd read a unit and its drop-ins; it ends with 0 or 1, and says why."""
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )


def directives(name: str) -> dict[str, list[str]]:
    """Return all values of every directive of a unit."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"(?m)^(\w+)=(.*)$", (FOLDER / name).read_text()):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_every_unit_without_a_word(name: str, units: Path) -> None:
    instance = name.replace("@", "@cell-0")
    (units / instance).symlink_to(name)
    done = verify(units / instance)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.stem)
def test_systemd_takes_every_drop_in_without_a_word(drop_in: Path, units: Path) -> None:
    folder = units / "networld-agent@.service.d"
    folder.mkdir()
    shutil.copy(drop_in, folder)
    done = verify(units / "networld-agent@cell-0.service")
    assert (done.returncode, done.stderr) == (0, "")
    (folder / drop_in.name).write_text(f"{drop_in.read_text()}\nCpuAffinity=1\n")
    assert "CpuAffinity" in verify(units / "networld-agent@cell-0.service").stderr


@pytest.mark.parametrize("name", LARGEST_EXPOSURE)
def test_units_are_as_hard_as_they_were(name: str, units: Path) -> None:
    threshold = f"--threshold={LARGEST_EXPOSURE[name] * 10:.0f}"
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            threshold,
            str(units / name),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250 and judges no files")
    assert done.returncode == 0, done.stdout


def test_the_cell_is_watched_and_ready_by_its_own_word() -> None:
    agent = directives("networld-agent@.service")
    assert agent["Type"] == ["notify"]
    assert agent["NotifyAccess"] == ["main"]
    assert int(agent["WatchdogSec"][0]) > 1
    assert "ORT_DISABLE_TELEMETRY=1" in agent["Environment"]
    assert agent["CapabilityBoundingSet"] == [""]


def test_errors_that_a_restart_does_not_mend_are_not_restarted() -> None:
    prevented = directives("networld-agent@.service")["RestartPreventExitStatus"][0].split()
    kinds = (errors.ConfigError, errors.BundleError, errors.DataError)
    assert {int(code) for code in prevented} == {2} | {kind.exit_code for kind in kinds}
    assert str(errors.BrokerError.exit_code) not in prevented


@pytest.mark.parametrize("name", ["networld-agent@.service", "networld-adapt@.service"])
def test_units_start_commands_that_exist(name: str) -> None:
    (line,) = directives(name)["ExecStart"]
    words = line.replace("%i", "cell-0").split()[1:]
    options = cli._parser().parse_args(words)
    assert options.config == Path("/etc/networld/cell-0.toml")


def test_the_training_is_idle_and_has_no_network() -> None:
    adapt = directives("networld-adapt@.service")
    assert adapt["CPUSchedulingPolicy"] == ["idle"]
    assert adapt["PrivateNetwork"] == ["yes"]
    (condition,) = adapt["ConditionPathExists"]
    assert condition == f"/var/lib/networld/%i/{adapter_keeper.LOGS}"
