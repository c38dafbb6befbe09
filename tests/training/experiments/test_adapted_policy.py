"""Policies that adapt: what is logged, who learns from whom, and who acts by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from networld_runtime.bundle import Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.episode_log import EpisodeLog, decode_log, encode_log
from networld_training import cli
from networld_training.data.windows import WindowSampler
from networld_training.evaluation.checkpoint_policy import CheckpointPolicy, load_task_model
from networld_training.experiments import adapted_policy
from networld_training.experiments.adapted_policy import (
    Adaptation,
    AdaptedPolicy,
    adapt_cells,
    log_episodes,
)
from networld_training.experiments.fine_tuning import _joined, _some_cells, fine_tuned
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.credit import Situation
from networld_training.model.imagination import Imagined, imagined_loss, masked_logits
from networld_training.model.judges import checkpoint_judge
from networld_training.model.mean_field import mean_field
from networld_training.model.settings import PRESETS
from networld_training.model.trainer import CHECKPOINT, Trainer
from networld_training.model.world_model import TaskModel
from networld_training.tasks.registry import LEARNING, TASKS


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of `sched` with a credit model that learned a little."""
    folder = tmp_path_factory.mktemp("adapted")
    options = ["--task", "sched", "--episodes", "9", "--shard-episodes", "3", "--slots", "20"]
    assert cli.main(["data", "make", *options, "--output", str(folder / "data")]) == 0
    settings = replace(PRESETS["tiny"], steps=2, credit_steps=10)
    trainer = Trainer(folder, {"sched": WindowSampler(folder / "data")}, settings)
    trainer.run(lambda *_: None)
    return folder / CHECKPOINT


def test_logs_are_what_the_cells_saw_as_others_can_read_it(checkpoint: Path) -> None:
    model = load_task_model(checkpoint, "sched")
    entry = TASKS["sched"]
    network = entry.scenarios["umi200-moderate"].networks[0]
    logs = log_episodes(model, network, Adaptation(episodes=2))
    assert list(logs) == [f"cell-{cell}" for cell in range(7)]
    couplings = len(LEARNING["sched"].floors)
    # The same episodes again, by hand.
    random = np.random.default_rng((adapted_policy.SEED_DOMAIN, 0))
    task = entry.make(network, random.choice(2**31, size=2, replace=False).tolist())
    task.reset()
    policy = CheckpointPolicy(model, adapted_policy.ACTING)
    policy.reset()
    for slot in range(3):
        for cell, parts in enumerate(logs.values()):
            for episode, log in enumerate(parts):
                assert np.array_equal(log.observation[slot], task.observation[episode, cell])
                assert np.array_equal(log.coupling[slot], task.coupling[episode, cell])
                assert task.action_mask is not None
                assert np.array_equal(log.mask[slot], task.action_mask[episode, cell])
                names = [f"cell-{other}" for other in task.neighbours[cell]]
                assert list(log.neighbours) == names
        task.step(policy.act(task))
    log = logs["cell-3"][1]
    read = decode_log(encode_log(log, model.contract), model.contract, couplings)
    assert np.array_equal(read.slots, log.slots)
    assert not set(log.slots) & set(logs["cell-3"][0].slots)


@pytest.mark.parametrize(("scenario", "trained"), [("umi200-moderate", 1), ("hex19", 19)])
def test_every_cell_learns_from_its_star_and_one_for_all_where_stars_are_alike(
    scenario: str, trained: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = TASKS["sched"]
    task = entry.make(entry.scenarios[scenario].networks[0], [1])
    logs = {f"cell-{cell}": [log_of(task.neighbours[cell])] for cell in range(task.shape[1])}
    asked = []

    def adapt(
        _: Any, name: str, star: Mapping[str, Sequence[EpisodeLog]], *__: Any
    ) -> tuple[FloatArray | None, None]:
        assert set(star) == {name, *logs[name][0].neighbours}
        asked.append(name)
        refused = name == "cell-5"
        return None if refused else np.full(4, 1.0 + len(asked), np.float32), None

    monkeypatch.setattr(adapted_policy, "adapt_to_logs", adapt)
    adapters = adapt_cells(BUNDLE, logs)
    assert len(asked) == trained
    assert len(adapters) == task.shape[1]
    expected = (
        [2.0] * 7 if trained == 1 else [0.0 if cell == 5 else 2.0 + cell for cell in range(19)]
    )
    assert [adapter[0] for adapter in adapters] == expected


class _Bundle:
    adapter_size = 4
    adaptation: Mapping[str, Any] = {}


BUNDLE: Bundle = _Bundle()  # type: ignore[assignment]


def log_of(neighbours: Sequence[int]) -> EpisodeLog:
    nothing: Any = np.zeros((1, 0))
    names = tuple(f"cell-{other}" for other in neighbours)
    return EpisodeLog(1, 0, names, nothing, nothing, nothing, nothing)


def test_every_cell_acts_by_its_own_adapter_in_its_own_network(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, entry = load_task_model(checkpoint, "sched"), TASKS["sched"]
    random = np.random.default_rng(0)
    adapters = [random.normal(size=model.adapter_size).astype(np.float32) for _ in range(7)]
    met = []

    def learn(_: object, logs: Mapping[str, Sequence[EpisodeLog]], *__: Any) -> list[FloatArray]:
        met.append(logs)
        return adapters

    monkeypatch.setattr(adapted_policy, "adapt_cells", learn)
    monkeypatch.setattr(adapted_policy, "load_task_bundle", lambda *_: BUNDLE)
    policy = AdaptedPolicy(checkpoint, "sched", Adaptation(episodes=1))
    network = entry.scenarios["umi200-moderate"].networks[0]
    task = entry.make(network, [1, 2, 3])
    task.reset()
    policy.reset()
    policy.act(task)
    latent = torch.rand(3, 7, model.contract.latent_size)
    field = torch.rand(3, 7, model.contract.mean_field_size)
    with torch.no_grad():
        found = policy._policy(latent.flatten(0, 1), field.flatten(0, 1)).view(3, 7, -1)
        for cell in range(7):
            alone = model.act(latent[:, cell], field[:, cell], torch.from_numpy(adapters[cell]))
            assert torch.allclose(found[:, cell], alone, atol=1e-6)
    policy.act(task)
    assert len(met) == 1
    other = entry.make(entry.scenarios["sparse"].networks[0], [1])
    other.reset()
    policy.reset()
    policy.act(other)
    assert len(met) == 2


def test_neither_logs_nor_adapted_cells_are_planned(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(*_: object) -> None:
        raise AssertionError("planned, though the policy is what adapts")

    monkeypatch.setattr(CheckpointPolicy, "_plan_all", plan)
    monkeypatch.setattr("networld_training.experiments.fine_tuning.STEPS", 1)
    policy = AdaptedPolicy(checkpoint, "sched", Adaptation(episodes=1, whole=True))
    task = TASKS["sched"].make(TASKS["sched"].scenarios["umi200-moderate"].networks[0], [1])
    task.reset()
    policy.reset()
    policy.act(task)


def test_fine_tuning_lowers_the_loss_that_it_follows(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("networld_training.experiments.fine_tuning.STEPS", 40)
    model, entry = load_task_model(checkpoint, "sched"), TASKS["sched"]
    network = entry.scenarios["umi200-moderate"].networks[0]
    logs = log_episodes(model, network, Adaptation(episodes=2))
    loaded = load_checkpoint(checkpoint)
    judge = checkpoint_judge(loaded, "sched")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuned = fine_tuned(model, judge, logs, temperature=0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    changed = [
        name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert changed
    assert all(name.startswith("policy.") for name in changed)
    assert loss_of(tuned, judge, logs) < 0.9 * loss_of(model, judge, logs)


def loss_of(model: TaskModel, judge: Imagined, logs: Mapping[str, Sequence[EpisodeLog]]) -> float:
    """Return the model's loss in some of the logged slots."""
    observation, coupling, mask = (part[0, :20] for part in _joined(model.contract, logs))
    neighbours = torch.tensor(
        [[int(one.removeprefix("cell-")) for one in parts[0].neighbours] for parts in logs.values()]
    )
    with torch.no_grad():
        latent = model.encode(observation)
        field = mean_field(latent[:-1, :, : model.contract.message_size], neighbours)
        logits = masked_logits(model.policy(latent[1:], field), mask[1:])
        given = Situation(observation[1:], coupling[1:], neighbours)
        drawn = torch.rand(logits.shape, generator=torch.Generator().manual_seed(0))
        return imagined_loss(judge, given, logits, 0.1, drawn).item()


def test_in_large_networks_some_cells_are_weighed_and_all_of_them_now_and_then() -> None:
    generator = torch.Generator().manual_seed(0)
    assert _some_cells(7, generator) is None
    asked = _some_cells(19, generator)
    assert asked is not None
    assert asked.shape == (48, 3, 19)
    assert (asked.sum(dim=1).amax(dim=-1) == 1).all()
    assert (asked.sum(dim=(0, 1)) > 0).all()
