"""The page about one's own task, as a contract: its example, its code and its commands work as written."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.errors import ConfigError
from networld_training import cli
from networld_training.conformance import check_parallel_env
from networld_training.environments.parallel_env import NetworkParallelEnv
from networld_training.environments.rollout import run_policy
from networld_training.own_code import load_object
from networld_training.tasks.entry import added_tasks

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "carrier.py"
PAGE = (ROOT / "docs" / "own-task.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.split("\n")
]
ENTRY = next(block for block in CODE if "TaskEntry(" in block)
POINT = "carrier_entry:CARRIER"


def install(folder: Path, point: str = POINT, source: str = ENTRY) -> None:
    """Install the page's entry as pip would."""
    (folder / "carrier_entry.py").write_text(source)
    metadata = folder / "carrier-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[networld.tasks]\ncarrier = {point}\n")


def run(arguments: list[str], *folders: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (EXAMPLE.parent, *folders)))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_example_is_short_and_passes_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 80
    assert cli.main(["check", f"{EXAMPLE}:CarrierTask", "--slots", "10"]) == 0
    assert "CarrierTask" in capsys.readouterr().out


def test_its_rule_is_better_than_staying_on_one_carrier() -> None:
    task = load_object(f"{EXAMPLE}:CarrierTask")
    network = load_object(f"{EXAMPLE}:CarrierNetwork")(slots=40)

    class Stay:
        def reset(self) -> None: ...

        def act(self, played: object) -> object:
            return np.zeros(played.shape)  # type: ignore[attr-defined]

    quietest = run_policy(task(network, range(8)), load_object(f"{EXAMPLE}:Quietest")())
    stay = run_policy(task(network, range(8)), Stay())  # type: ignore[arg-type]
    assert (quietest["mean_rate"] > stay["mean_rate"]).all()


def test_rates_by_hand() -> None:
    """Alone on their carriers, cells have the rates of their users' signal to noise ratios."""
    task = load_object(f"{EXAMPLE}:CarrierTask")(load_object(f"{EXAMPLE}:CarrierNetwork")(), [3])
    task.reset()
    received = task._channel.gain[0] * task.network.full_power_over_noise
    serving = task._channel.large_scale_gain[0].argmax(axis=-1)
    action = np.array([0, 1, 1, 1, 1, 2, 2])
    outcome = task.step(action[None])
    (users,) = np.nonzero(serving == 0)
    ratios = received[users, 0]
    expected = np.minimum(0.8 * np.log2(1 + ratios), 7.1).mean()
    assert outcome.utility[0, 0] == pytest.approx(expected, rel=1e-5)
    (users,) = np.nonzero(serving == 5)
    ratios = received[users, 5] / (1 + received[users, 6])
    rates = np.where(ratios < 10**-0.6, 0, np.minimum(0.8 * np.log2(1 + ratios), 7.1))
    assert outcome.utility[0, 5] == pytest.approx(rates.mean(), rel=1e-5)


def test_it_plays_in_pettingzoo() -> None:
    task = load_object(f"{EXAMPLE}:CarrierTask")
    network = load_object(f"{EXAMPLE}:CarrierNetwork")(slots=5)
    check_parallel_env(lambda: NetworkParallelEnv(network, task=task)).require()


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_code_of_the_page_runs(code: str, tmp_path: Path) -> None:
    if "benchmarl" in code:
        if importlib.util.find_spec("benchmarl") is None:
            pytest.skip("needs networld-training[baselines]: make test-baselines")
        code = code.replace("60_000", "6_000").replace(
            "config.max_n_frames", f"config.save_folder = {str(tmp_path)!r}\nconfig.max_n_frames"
        )
    done = run(["-c", code])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_commands_of_the_page_run(tmp_path: Path) -> None:
    install(tmp_path)
    commands = [shlex.split(command) for command in COMMANDS if command]
    assert len(commands) >= 3
    for program, *arguments in commands:
        assert program == "networld"
        done = run(["-m", "networld_training.cli", *arguments], tmp_path)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("point", "change", "said"),
    [
        ("carrier_entry:NOTHING", ("", ""), "cannot be loaded, AttributeError"),
        ("carrier_entry:CarrierTask", ("", ""), "expected a TaskEntry"),
        (POINT, ('"random": Random, ', ""), "heuristics: 'random' is missing"),
        (POINT, ('"random": Random, ', '"random": Random, "ceiling": Random, '), "field `ceiling`"),
        (
            POINT,
            ("make=CarrierTask", "ceiling=Random, make=CarrierTask"),
            "ceiling: named 'random', expected 'ceiling'",
        ),
        (
            POINT,
            ("networld/carrier/plain-v0", "networld/other/plain-v0"),
            "expected networld/carrier",
        ),
        (POINT, ("make=CarrierTask", "make=load()"), "cannot be loaded, NameError"),
    ],
)
def test_a_wrong_entry_is_told(
    point: str,
    change: tuple[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ENTRY.replace(*change)
    assert (source != ENTRY) == (change[0] != change[1])
    install(tmp_path, point, source)
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("carrier", "carrier_entry"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ConfigError) as told:
        added_tasks(["power"])
    assert f"entry point carrier = '{point}' in networld.tasks" in str(told.value)
    assert said in str(told.value)


def test_a_taken_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("carrier", "carrier_entry"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert added_tasks(["power"]).keys() == {"carrier"}
    with pytest.raises(ConfigError, match="there is a task 'carrier' already"):
        added_tasks(["power", "carrier"])
