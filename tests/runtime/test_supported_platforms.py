"""What a base station may be: Python 3.10 and newer, x86-64 and ARM; memory is written or run, never both."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from installed_station import clean_environment, index_answers, script
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]
PR_SET_MDWE, PR_GET_MDWE = 65, 66

# What MemoryDenyWriteExecute= of a unit does, by the kernel's own means: it outlives exec.
DENIED = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit("the kernel refuses PR_SET_MDWE")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
TRY = """
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    print("denied")
"""


@pytest.mark.parametrize("folder", ["runtime", "docs/examples"])
def test_source_needs_no_newer_python_than_3_10(folder: str) -> None:
    if find_spec("vermin") is None:
        pytest.skip("vermin is not installed")
    options = "--target=3.10- --violations --no-tips --eval-annotations"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from vermin import main; main()",
            *options.split(),
            str(ROOT / folder),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.13"])
def test_every_package_has_a_wheel_for_a_board_with_arm(version: str, tmp_path: Path) -> None:
    if not index_answers():
        pytest.skip("no package index to ask")
    options = ("--platform", "aarch64", "--python-version", version)
    done = script("collect_wheels.sh", "--output", tmp_path, *options, PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"(?m)^([\w-]+)==", (tmp_path / "requirements.txt").read_text())
    wheels = [parse_wheel_filename(path.name) for path in tmp_path.glob("*.whl")]
    shutil.rmtree(tmp_path)  # 40 MB that nobody looks at
    assert {name for name, *_ in wheels} == {*listed, "networld-runtime"}
    platforms = {tag.platform for *_, tags in wheels for tag in tags}
    assert all(platform == "any" or platform.endswith("aarch64") for platform in platforms)


def test_runs_where_memory_is_written_or_run_and_never_both() -> None:
    """The unit asks for it; Python, NumPy and ONNX Runtime must do without."""
    if ctypes.CDLL(None).prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0:
        pytest.skip("the kernel has no PR_SET_MDWE (before Linux 6.3)")
    tried = _denied("-c", TRY)
    assert tried.stdout.strip() == "denied", tried.stderr
    file = ROOT / "edge_configs" / "x86-cpu.toml"
    done = _denied("-m", "networld_runtime.cli", "check", "--config", str(file))
    assert done.returncode == 0, done.stderr


def _denied(*command: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(PYTHONPATH=str(ROOT / "runtime"))
    return subprocess.run(
        [sys.executable, "-c", DENIED, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
