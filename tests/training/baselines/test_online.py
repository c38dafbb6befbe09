"""IPPO, MAPPO and QMIX: they learn, and their plain perceptrons act as BenchMARL's policies do.

`make test-baselines` installs what they need and runs them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.contract import Feature
from networld_runtime.contract import FloatArray as SingleArray
from networld_training.cli import main
from networld_training.radio.arrays import FloatArray
from networld_training.tasks import registry
from networld_training.tasks.base import StatelessRule, Task
from networld_training.tasks.entry import TaskEntry
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Choice, Kpi, TaskSpec

pytest.importorskip("benchmarl", reason="needs networld-training[baselines]: make test-baselines")

import torch
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type

from networld_training.baselines.online import OnlineTraining, random_rewards, trained_perceptron
from networld_training.baselines.online_settings import OnlineSettings
from networld_training.baselines.policy import BaselinePolicy

METHODS = ("ippo", "mappo", "qmix")


@dataclass(frozen=True)
class GuessNetwork(Network):
    """Where it is guessed."""

    name: str = "guess"
    slots: int = 10


class GuessTask(Task):
    """Each cell is shown a number and is paid for its sign; the choice between is closed now and then."""

    network: GuessNetwork
    spec = TaskSpec(
        name="guess",
        slot_s=0.01,
        features=(Feature("number", "", -1.0, 1.0),),
        message=(Feature("number", "", -1.0, 1.0),),
        actions=(Choice("sign", ("minus", "nothing", "plus"), masked=True),),
        kpis=(Kpi("right", "share of slots"),),
        expert="random",
    )

    def _begin(self) -> None:
        self._right = np.zeros(self.shape)

    def _advance(self, action: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
        right = (action[..., 0] - 1 == np.sign(self._number)) * 1.0
        self._right += right
        return 5 + 10 * right, {}

    def _observe(self) -> SingleArray:
        cells = self.shape[1]
        self._number = np.stack([s.traffic.uniform(-1, 1, cells) for s in self.streams])
        self.action_mask = np.ones((*self.shape, 3), dtype=np.bool_)
        self.action_mask[..., 1] = self._number < 0.5
        return self._number[..., None].astype(np.float32)

    def _tell(self) -> FloatArray:
        return self._number[..., None]

    def metrics(self) -> dict[str, FloatArray]:
        return {"right": self._right.mean(axis=-1) / max(self.slot, 1)}


class Random(StatelessRule):
    """A coin."""

    name = "random"

    def act(self, task: GuessTask) -> FloatArray:
        cells = task.shape[1]
        return np.stack([2.0 * stream.policy.integers(2, size=cells) for stream in task.streams])


@pytest.fixture
def guess(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """The scenario of the guessing task, which is registered meanwhile."""
    scenario = Scenario("networld/guess/train-v0", "training", (GuessNetwork(),))
    entry = TaskEntry(GuessTask, GuessNetwork, {"random": Random}, {"train": scenario})
    monkeypatch.setitem(registry.TASKS, "guess", entry)
    monkeypatch.setitem(registry.SCENARIOS, scenario.id, scenario)
    return scenario


def small(**changes: Any) -> OnlineSettings:
    settings = OnlineSettings(
        steps=2240, width=16, episodes=16, minibatch=80, epochs=5, discount=0.1
    )
    return replace(settings, **{"learning_rate": 0.01, **changes})


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ippo", {"steps": 11_200}),
        ("ippo", {"steps": 22_400, "share": False}),
        ("mappo", {"steps": 11_200}),
        ("qmix", {"steps": 11_200, "epochs": 20}),
    ],
    ids=["ippo", "ippo-unshared", "mappo", "qmix"],
)
def test_signs_are_learned(
    method: str, changes: dict[str, Any], guess: Scenario, tmp_path: Path
) -> None:
    path = tmp_path / "policy.safetensors"
    run = OnlineTraining(path, method, guess, small(**changes))
    done: list[int] = []
    policy = run.run(lambda steps, _: done.append(steps))
    assert done[-1] == policy.environment_steps == run.total_steps == changes["steps"]
    rows = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert [int(row["environment_steps"]) for row in rows] == done
    assert float(rows[0]["mean_reward"]) < 12 < float(rows[-1]["mean_reward"]) <= 15
    assert float(rows[-1]["right"]) > 0.95


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_plain_perceptron_acts_as_the_policy_that_was_trained(
    method: str, share: bool, guess: Scenario, tmp_path: Path
) -> None:
    path = tmp_path / "policy.safetensors"
    run = OnlineTraining(path, method, guess, small(share=share))
    fresh = {name: one.clone() for name, one in run.actor().state_dict().items()}
    run.run(lambda _, __: None)
    assert any(not torch.equal(fresh[name], one) for name, one in run.actor().state_dict().items())

    seen = torch.randn(4, 7, 2)
    theirs = trained_perceptron(run.experiment.group_policies["agents"])(seen)
    assert torch.allclose(run.actor()(seen), theirs, atol=1e-6)

    loaded = BaselinePolicy.load(path, "guess")
    assert loaded.information == "mean-field"
    assert loaded.fits(GuessNetwork())
    assert loaded.fits(GuessNetwork(cells=19)) is share
    task = GuessTask(GuessNetwork(), [5, 6])
    task.reset()
    for _ in range(10):
        group = TensorDict(
            {
                "observation": torch.from_numpy(run_view(loaded).observation(task)),
                "action_mask": torch.from_numpy(task.action_mask),
            },
            (2, 7),
        )
        with set_exploration_type(ExplorationType.DETERMINISTIC), torch.no_grad():
            chosen = run.experiment.policy(TensorDict({"agents": group}, (2,)))["agents", "action"]
        action = loaded.act(task)
        assert np.array_equal(action[..., 0], chosen.numpy())
        task.step(action)


def run_view(policy: BaselinePolicy) -> Any:
    return policy._view


def test_rewards_are_standardised_by_those_of_the_random_rule(
    guess: Scenario, tmp_path: Path
) -> None:
    """Half of the guesses are right: 10 on average; a cell is paid the mean of its own and six others."""
    mean, deviation = random_rewards(guess)
    assert mean == pytest.approx(10, abs=1.3)
    assert deviation == pytest.approx(5 / np.sqrt(7), rel=0.3)
    run = OnlineTraining(tmp_path / "policy.safetensors", "ippo", guess, small())
    run.collected(1.0)
    assert run._batch_reward == pytest.approx(mean + deviation)


def test_seeds_make_runs(guess: Scenario, tmp_path: Path) -> None:
    weights = []
    for seed in (0, 0, 1):
        run = OnlineTraining(tmp_path / "policy.safetensors", "ippo", guess, small(), seed)
        weights.append(run.run(lambda _, __: None).weights["weights.0"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_goes_on(method: str, guess: Scenario, tmp_path: Path) -> None:
    """Bit for bit, but for QMIX, which has to fill its replay buffer again."""
    done: list[int] = []

    def interrupt(steps: int, _: str) -> None:
        done.append(steps)
        if steps == 8 * 1120:
            raise KeyboardInterrupt

    settings = small(steps=9 * 1120)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    OnlineTraining(whole, method, guess, settings).run(lambda _, __: None)
    with pytest.raises(KeyboardInterrupt):
        OnlineTraining(broken, method, guess, settings).run(interrupt)
    assert not broken.exists()
    resumed = OnlineTraining(broken, method, guess, settings)
    assert resumed.steps == 5 * 1120
    done.clear()
    resumed.run(lambda steps, _: done.append(steps))
    assert done == [steps * 1120 for steps in range(6, 10)]
    assert not broken.with_name("broken.safetensors.run").exists()
    if method == "qmix":
        greedy = list(resumed.experiment.group_policies["agents"].modules())[-1]
        assert float(greedy.eps) == pytest.approx(0.01)
        return
    assert broken.read_bytes() == whole.read_bytes()
    assert broken.with_suffix(".csv").read_text() == whole.with_suffix(".csv").read_text()


def test_the_command_trains_online(
    guess: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del guess
    path = tmp_path / "policy.safetensors"
    words = ["baseline", "--task", "guess", "--method", "ippo", "--output", str(path)]
    words += ["--set", "episodes=16", "--set", "minibatch=80"]
    assert main([*words, "--steps", "2000"]) == 0
    said = capsys.readouterr()
    assert "2240 environment steps" in said.out
    assert "ippo 2240/2240" in said.err
    assert "mean return" not in said.err
    assert main([*words, "--steps", "2000", "--scenario", "power/umi200"]) == 3
    assert "is one of task 'power'" in capsys.readouterr().err
