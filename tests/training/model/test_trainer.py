"""Training: exact resume, learning, clear errors, and what the parts promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError, DataError
from networld_runtime.message import dequantise
from networld_runtime.message import quantise as quantise_message
from networld_training.data.generate import Generation, GenerationSettings
from networld_training.data.windows import WindowSampler
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.mean_field import lose_messages, mean_field, quantise
from networld_training.model.settings import PRESETS, TrainingSettings
from networld_training.model.trainer import CHECKPOINT, Trainer
from networld_training.tasks.registry import find_scenario

TINY = replace(PRESETS["tiny"], steps=12)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> WindowSampler:
    folder = tmp_path_factory.mktemp("data")
    scenario = find_scenario("power/train")
    settings = GenerationSettings(scenario, episodes=6, shard_episodes=3, slots=20)
    Generation(folder, settings).run(lambda _: None)
    return WindowSampler(folder)


def train(folder: Path, sampler: WindowSampler, stop_at: int | None = None) -> Trainer:
    trainer = Trainer(folder, {"power": sampler}, TINY, seed=3)
    while trainer.step < (stop_at or TINY.steps):
        trainer.advance()
    trainer.save()
    return trainer


def test_resumed_run_equals_one_that_never_stopped(tmp_path: Path, sampler: WindowSampler) -> None:
    train(tmp_path / "whole", sampler)
    train(tmp_path / "parts", sampler, stop_at=5)
    train(tmp_path / "parts", sampler, stop_at=6)
    train(tmp_path / "parts", sampler)
    whole = (tmp_path / "whole" / CHECKPOINT).read_bytes()
    assert whole == (tmp_path / "parts" / CHECKPOINT).read_bytes()


def test_training_lowers_every_loss(tmp_path: Path, sampler: WindowSampler) -> None:
    settings = replace(TINY, steps=120)
    trainer = Trainer(tmp_path, {"power": sampler}, settings)
    history = [trainer.advance()[0] for _ in range(settings.steps)]
    for name in history[0]:
        early = np.mean([values[name] for values in history[:10]])
        late = np.mean([values[name] for values in history[-10:]])
        assert late < early, name


def test_average_lags_the_model_and_is_what_a_checkpoint_gives(
    tmp_path: Path, sampler: WindowSampler
) -> None:
    trainer = train(tmp_path, sampler)
    name = "encoders.power.encode.0.weight"
    model = trainer.model.state_dict()[name]
    averaged = load_checkpoint(tmp_path / CHECKPOINT).averaged_model().state_dict()[name]
    assert torch.equal(averaged, trainer.average[name])
    assert not torch.equal(averaged, model)


@pytest.mark.parametrize("change", ["seed", "settings"])
def test_another_run_in_the_same_folder_is_refused(
    tmp_path: Path, sampler: WindowSampler, change: str
) -> None:
    train(tmp_path, sampler, stop_at=1)
    settings = replace(TINY, learning_rate=0.5) if change == "settings" else TINY
    with pytest.raises(DataError, match=change):
        Trainer(tmp_path, {"power": sampler}, settings, seed=4 if change == "seed" else 3)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing", "empty"])
def test_damaged_checkpoint_is_a_clear_error(
    tmp_path: Path, sampler: WindowSampler, damage: str
) -> None:
    path = tmp_path / CHECKPOINT
    train(tmp_path, sampler, stop_at=1)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": content[:-9], "garbage": b"x" * 64, "empty": b""}[damage])
    with pytest.raises(DataError, match="train"):
        load_checkpoint(path)


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as raised:
        TrainingSettings(steps=0, learning_rate=-1.0, average=2.0)
    assert len(raised.value.problems) == 3


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
def test_training_quantises_as_the_message_does(values: list[float]) -> None:
    latent = np.array(values, dtype=np.float32)
    sent = dequantise(quantise_message(latent))
    np.testing.assert_allclose(quantise(torch.from_numpy(latent)).numpy(), sent, atol=1e-6)


def test_mean_field_counts_only_what_was_heard() -> None:
    latent = torch.tensor([[[0.0, 0.0], [1.0, -1.0], [0.0, 1.0]]])
    neighbours = torch.tensor([[1, 2], [0, 2], [0, 1]])
    heard = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
    field = mean_field(latent, neighbours, heard)
    expected = [[1.0, -1.0, 0.5], [0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]
    assert torch.allclose(field[0], torch.tensor(expected))


def test_gradient_reaches_the_sender_through_quantisation() -> None:
    latent = torch.full((1, 3, 2), 0.3, requires_grad=True)
    neighbours = torch.tensor([[1, 2], [0, 2], [0, 1]])
    mean_field(latent, neighbours)[0, 0, 0].backward()  # type: ignore[no-untyped-call]
    assert latent.grad is not None
    assert latent.grad[0, 1, 0] == 0.5
    assert latent.grad[0, 0, 0] == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_message_loss_hits_the_share_of_cells(share: float) -> None:
    heard = lose_messages((200, 7, 6), share, torch.Generator().manual_seed(0))
    assert heard.mean().item() == pytest.approx(1 - share / 2, abs=0.03)
