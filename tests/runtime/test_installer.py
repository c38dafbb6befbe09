"""The installer, for real: wheels that pip gathered, a folder as the root, and what is left afterwards."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import installed_station
import pytest
from installed_station import SCRIPTS, clean_environment, script
from packaging.requirements import Requirement

from networld_runtime.config_reader import load_config

ROOT = Path(__file__).parents[2]
LARGEST_INSTALLATION_BYTES = 160_000_000
"""Packages, without the interpreter and its installers."""
UNUSED = {"sympy", "coloredlogs"}
"""What ONNX Runtime 1.23 declares for its tools."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="installs on Linux")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_station.wheels(tmp_path_factory)


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_station.station(tmp_path_factory)


def install(root: Path, wheels: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return script(
        "install.sh", "--wheels", wheels, "--root", root, "--python", sys.executable, *options
    )


def listing(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file, so that not even a rewritten one goes unseen."""
    paths = (path for path in root.rglob("*") if not path.is_dir() or path.is_symlink())
    return {
        str(path.relative_to(root)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in paths
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def trial(station: Path, tmp_path: Path) -> Path:
    """A root whose software is a link to the one that is installed: quick, and may be spoiled."""
    root = tmp_path / "root"
    software = root / "opt" / "networld"
    (software / "versions").mkdir(parents=True)
    installed = station / "opt" / "networld"
    for version in (installed / "versions").iterdir():
        (software / "versions" / version.name).symlink_to(version)
    (software / "bundles").symlink_to(installed / "bundles")
    return root


@pytest.mark.slow
def test_installed_agent_checks_the_installed_configuration(station: Path) -> None:
    file = station / "etc" / "networld" / "cell-0.toml"
    agent = station / "opt" / "networld" / "current" / "bin" / "networld-agent"
    done = subprocess.run(
        [agent, "check", "--config", file],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    config = load_config(file)
    assert config.bundle.path == station / "opt/networld/bundles/current"
    assert config.state.directory == station / "var/lib/networld/cell-0"


@pytest.mark.slow
def test_installed_units_start_the_installed_program(station: Path) -> None:
    units = station / "etc" / "systemd" / "system"
    for name in ("networld-agent@.service", "networld-adapt@.service"):
        assert f"={station}/opt/networld/current/bin/networld-agent " in (units / name).read_text()
        if shutil.which("systemd-analyze"):
            command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
            done = subprocess.run(
                [*command, str(units / name)], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_installed_packages_are_small_and_only_those_of_the_list(station: Path) -> None:
    (folder,) = station.glob("opt/networld/current/lib/python*/site-packages")
    names = {path.name.split("-")[0] for path in folder.glob("*.dist-info")}
    names = {name.lower().replace("_", "-") for name in names}
    requirements = (station.parent / "wheels" / "requirements.txt").read_text()
    listed = set(re.findall(r"(?m)^([\w-]+)==", requirements))
    assert names - {"pip", "setuptools"} == listed | {"networld-runtime"}
    assert not {"torch", "onnx", "sympy"} & names
    foreign = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
    size = sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(foreign)
    )
    assert size <= LARGEST_INSTALLATION_BYTES, f"{size / 1e6:.1f} MB"


@pytest.mark.slow
def test_a_second_run_changes_nothing_but_the_links(trial: Path, wheels: Path) -> None:
    assert install(trial, wheels).returncode == 0
    file = trial / "etc" / "networld" / "cell-0.toml"
    file.write_text(file.read_text().replace('site = "demo"', 'site = "edited"'))
    before = listing(trial)
    done = install(trial, wheels, "--board", "raspberry-pi-5")
    assert done.returncode == 0, done.stderr
    assert "kept as it is" in done.stdout
    after = listing(trial)
    assert before.keys() == after.keys()
    unit_files = {name for name in before if name.startswith(("etc/systemd", "etc/sysusers"))}
    rewritten = {name for name in before if before[name] != after[name]}
    assert rewritten <= unit_files | {"opt/networld/bundles/current"}
    assert load_config(file).cell.site == "edited"


@pytest.mark.slow
def test_other_wheels_are_a_version_beside_the_old_one_and_old_ones_go(
    trial: Path, wheels: Path
) -> None:
    software = trial / "opt" / "networld"
    assert install(trial, wheels).returncode == 0
    first = (software / "current").readlink()
    for name in ("older", "oldest"):  # as earlier installations left them
        (software / "versions" / name).mkdir()
    (software / "current").unlink()
    (software / "current").symlink_to("versions/older")
    assert install(trial, wheels).returncode == 0
    assert (software / "current").readlink() == first
    assert (software / "previous").readlink() == Path("versions/older")
    assert {path.name for path in (software / "versions").iterdir()} == {first.name, "older"}


@pytest.mark.slow
def test_a_cell_changes_places_with_the_first_one(trial: Path, wheels: Path) -> None:
    done = install(trial, wheels, "--cell", "cell-3", "--board", "x86-cuda", "--drop-in", "gpu")
    assert done.returncode == 0, done.stderr
    config = load_config(trial / "etc" / "networld" / "cell-3.toml")
    assert config.cell.name == "cell-3"
    assert config.execution.provider == "cuda"
    assert set(config.cell.neighbours) == {f"cell-{index}" for index in (0, 1, 2, 4, 5, 6)}
    assert config.state.directory == trial / "var/lib/networld/cell-3"
    units = trial / "etc" / "systemd" / "system"
    assert (units / "networld-agent@.service.d" / "gpu.conf").exists()


@pytest.mark.slow
def test_uninstall_keeps_what_is_the_operators_and_purge_does_not(
    trial: Path, wheels: Path
) -> None:
    assert install(trial, wheels).returncode == 0
    state = trial / "var" / "lib" / "networld" / "cell-0"
    state.mkdir(parents=True)
    (state / "epoch").write_text("1")
    assert script("install.sh", "--uninstall", "--root", trial).returncode == 0
    left = {name for name in listing(trial) if not name.startswith("opt/networld/bundles")}
    assert left == {"etc/networld/cell-0.toml", "var/lib/networld/cell-0/epoch"}
    assert (trial / "opt" / "networld" / "bundles" / "current").exists()
    assert script("install.sh", "--uninstall", "--purge", "--root", trial).returncode == 0
    assert listing(trial) == {}


@pytest.mark.slow
def test_dry_run_writes_nothing(wheels: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = install(root, wheels, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"would write: {root}/etc/networld/cell-0.toml" in done.stdout
    assert not root.exists()


@pytest.mark.slow
def test_damaged_wheels_are_refused_before_anything_is_written(
    wheels: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "wheels"
    shutil.copytree(wheels, copy)
    (victim,) = copy.glob("msgpack*.whl")
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(content)
    done = install(tmp_path / "root", copy)
    assert done.returncode == 1
    assert "differs from its SHA256SUMS" in done.stderr
    assert not any((tmp_path / "root").rglob("*"))


@pytest.mark.slow
def test_nothing_is_asked_of_an_index(wheels: Path, tmp_path: Path) -> None:
    """A wheel that is missing ends the installation, though the index has it."""
    copy = tmp_path / "wheels"
    shutil.copytree(wheels, copy)
    for wheel in copy.glob("paho*.whl"):
        wheel.unlink()
    sums = copy / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines(keepends=True) if "paho" not in line]
    sums.write_text("".join(lines))
    root = tmp_path / "root"
    done = install(root, copy)
    assert done.returncode != 0
    assert "paho-mqtt" in done.stderr
    assert not (root / "opt" / "networld" / "current").exists()


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ([], 2, "--wheels DIR is missing"),
        (["--wheels"], 2, "--wheels needs a value"),
        (["--wheels", "/nowhere"], 1, "no SHA256SUMS"),
        (["--online", "--wheels", "/nowhere"], 2, "not both"),
        (["--purge"], 2, "--purge goes with --uninstall"),
        (["--uninstall", "--online"], 2, "takes neither"),
        (["--online", "--board", "toaster"], 2, "--board toaster"),
        (["--online", "--cell", "../x"], 2, "--cell ../x"),
        (["--online", "--drop-in", "x"], 2, "--drop-in x"),
        (["--online", "--python", "/bin/false"], 1, "--python /bin/false"),
        (["--online", "--bundle", "/nowhere"], 1, "no manifest.json"),
        (["--fly"], 2, "unknown option --fly"),
    ],
)
def test_wrong_usage_is_told_and_changes_nothing(
    options: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = script("install.sh", "--root", tmp_path / "root", "--python", sys.executable, *options)
    assert done.returncode == code
    assert told in done.stderr
    assert not any((tmp_path / "root").rglob("*"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "--output is missing"),
        (["--output", "x", "--platform", "riscv64"], "--platform riscv64"),
        (["--output", "x", "--python-version", "3.9"], "--python-version 3.9"),
        (["--output", "x", "--python-version", "2"], "--python-version 2"),
    ],
)
def test_wrong_usage_of_the_collector_is_told(options: list[str], told: str) -> None:
    done = script("collect_wheels.sh", *options)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize("name", ["install.sh", "collect_wheels.sh"])
def test_help_has_an_example(name: str) -> None:
    done = script(name, "--help")
    assert done.returncode == 0
    assert "example:" in done.stdout


@pytest.mark.parametrize("name", ["install.sh", "collect_wheels.sh"])
def test_shellcheck_finds_nothing(name: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", str(SCRIPTS / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def pins(file: Path) -> dict[str, str]:
    """Return package and version of every line `name==version`."""
    found = re.findall(r"(?m)^([\w.-]+)==([\w.]+)", file.read_text())
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_lists_of_packages_hold_all_that_is_declared() -> None:
    """They are installed without resolving, so what a package declares must be in them."""
    newer = pins(SCRIPTS / "requirements.txt")
    older = pins(SCRIPTS / "requirements-python3.10.txt")
    declared: set[str] = set()
    waiting = ["networld-runtime"]
    while waiting:
        try:
            texts = requires(waiting.pop()) or []
        except PackageNotFoundError:
            continue  # of another Python
        for one in map(Requirement, texts):
            if one.name not in declared | UNUSED and (one.marker is None or one.marker.evaluate()):
                declared.add(one.name)
                waiting.append(one.name)
    assert declared - {"tomli"} == set(newer)
    assert set(older) == set(newer) | {"tomli"}


def test_lists_of_packages_are_what_is_tested() -> None:
    tested = pins(ROOT / "constraints.txt")
    newer = pins(SCRIPTS / "requirements.txt")
    assert newer == {name: tested[name] for name in newer}
