"""Training: exact resume, learning, clear errors, and what the parts promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError, DataError
from networld_runtime.mesh.message import dequantise
from networld_runtime.mesh.message import quantise as quantise_message
from networld_training.data.generate import Generation, GenerationSettings
from networld_training.data.windows import WindowSampler
from networld_training.model.checkpoint import FORMAT, load_checkpoint
from networld_training.model.mean_field import lose_messages, mean_field, quantise
from networld_training.model.settings import PRESETS, TrainingSettings
from networld_training.model.step_losses import step_losses
from networld_training.model.trainer import CHECKPOINT, Trainer
from networld_training.tasks.registry import find_scenario

TINY = replace(PRESETS["tiny"], credit_steps=4, steps=6)


@pytest.fixture(scope="module")
def samplers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WindowSampler]:
    """A task of numbers that starts from nothing, and one with choices, turns and a rule to imitate."""
    found = {}
    for task in ("power", "sleep"):
        folder = tmp_path_factory.mktemp(task)
        scenario = find_scenario(f"{task}/train")
        settings = GenerationSettings(scenario, episodes=6, shard_episodes=3, slots=20)
        Generation(folder, settings).run(lambda _: None)
        found[task] = WindowSampler(folder)
    return found


def started(
    folder: Path, samplers: Mapping[str, WindowSampler], settings: TrainingSettings = TINY
) -> Trainer:
    return Trainer(folder, samplers, settings, seed=3)


def train(folder: Path, samplers: Mapping[str, WindowSampler], stop_at: int) -> Trainer:
    """Resume or begin, stop at a step and save."""
    trainer = started(folder, samplers)
    while trainer.step < stop_at:
        trainer.advance()
    trainer.save()
    return trainer


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "stops",
    [(2,), (4,), (6,), (2, 4, 5, 9)],
    ids=["within the first phase", "between the phases", "within the second", "often"],
)
def test_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, samplers: dict[str, WindowSampler], whole: bytes, stops: tuple[int, ...]
) -> None:
    for stop in (*stops, TINY.all_steps):
        train(tmp_path, samplers, stop)
    assert (tmp_path / CHECKPOINT).read_bytes() == whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, samplers: dict[str, WindowSampler]) -> bytes:
    """The checkpoint of a run that never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, samplers, TINY.all_steps)
    return (folder / CHECKPOINT).read_bytes()


def test_another_seed_is_another_run(
    tmp_path: Path, samplers: dict[str, WindowSampler], whole: bytes
) -> None:
    trainer = Trainer(tmp_path, samplers, TINY, seed=4)
    trainer.run(lambda *_: None)
    assert (tmp_path / CHECKPOINT).read_bytes() != whole


def test_training_lowers_every_loss(tmp_path: Path, samplers: dict[str, WindowSampler]) -> None:
    sleep = {"sleep": samplers["sleep"]}
    settings = replace(TINY, credit_steps=30, steps=120, learning_rate=2e-3)
    trainer = started(tmp_path, sleep, settings)
    history = [trainer.advance() for _ in range(150)]
    phases = {
        ("credit",): history[:30],
        ("inverse", "classifier", "reconstruction", "imagined"): history[30:],
    }
    for losses, phase in phases.items():
        for loss in losses:
            early, late = (
                np.mean([values[f"sleep/{loss}"] for values in part])
                for part in (phase[:15], phase[-15:])
            )
            assert late < early, loss


def test_denoiser_learns_to_predict_latents_that_come_to_be(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    """Its loss rises while latents begin to say something, so it is compared with one that did not learn."""
    settings = replace(TINY, credit_steps=1, steps=60, learning_rate=2e-3)
    trainer = started(tmp_path, {"sleep": samplers["sleep"]}, settings)
    untrained = weights(trainer.model.denoiser)
    trainer.run(lambda *_: None)
    window = samplers["sleep"].batch(size=8, starts=2, seed=1, step=0)

    def error() -> float:
        random = torch.Generator().manual_seed(0)
        return step_losses(trainer.learners["sleep"], window, settings, random).denoising.item()

    learned = error()
    trainer.model.denoiser.load_state_dict(untrained)
    assert learned < 0.9 * error()


def test_credit_models_learn_first_and_then_all_else(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    trainer = started(tmp_path, samplers)
    model, untrained = weights(trainer.model), weights(trainer.credits)
    assert same(trainer.average, model)
    for _ in range(TINY.credit_steps):
        assert trainer.advance().keys() == {"power/credit", "sleep/credit"}
    assert same(weights(trainer.model), model)
    assert same(trainer.average, model)
    learned = weights(trainer.credits)
    for task in samplers:
        name = f"{task}.head.0.weight"
        assert not torch.equal(learned[name], untrained[name])
    while trainer.step < TINY.all_steps:
        assert "power/credit" not in trainer.advance()
    assert same(weights(trainer.credits), learned)
    changed = weights(trainer.model)
    for network in ("encoders", "inverse", "classifiers", "policies"):
        for task in samplers:
            names = [name for name in model if name.startswith(f"{network}.{task}.")]
            assert any(not torch.equal(model[name], changed[name]) for name in names), network


def test_average_begins_with_the_second_phase(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    """As if the first phase had not been: the first step counts for 9 parts of 11, the next for 9 of 12."""
    trainer = started(tmp_path, samplers)
    name = "encoders.power.situation.0.weight"
    expected = trainer.model.state_dict()[name].clone()
    for _ in range(TINY.credit_steps):
        trainer.advance()
    for share in (9 / 11, 9 / 12, 9 / 13):
        trainer.advance()
        expected += share * (trainer.model.state_dict()[name] - expected)
        assert torch.allclose(trainer.average[name], expected, atol=1e-6)
        assert not torch.allclose(trainer.average[name], trainer.model.state_dict()[name])


def test_learning_rate_has_a_cycle_for_each_phase(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    settings = replace(TINY, credit_steps=10, steps=5)
    trainer = started(tmp_path, {"power": samplers["power"]}, settings)
    rates = []
    while trainer.step < 15:
        trainer.advance()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    first, second = rates[:10], rates[10:]
    assert first[0] == second[0] == pytest.approx(1e-3 * TINY.learning_rate)
    assert second == first[::2]
    assert 0.5 * TINY.learning_rate < max(first) <= TINY.learning_rate
    assert first[-1] < 0.1 * max(first)


def test_credit_models_have_the_scales_of_the_log(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    trainer = started(tmp_path, samplers)
    for task, sampler in samplers.items():
        credit = trainer.learners[task].imagined.credit
        sizes = np.abs(sampler.credits[sampler.credits != 0])
        assert credit.scale.item() == pytest.approx(np.median(sizes), rel=0.01)
        lowest, highest = np.quantile(sampler.credits, [0.01, 0.99])
        assert credit.values[[0, -1]].tolist() == pytest.approx([lowest, highest], rel=0.05)
    assert trainer.learners["power"].imagined.held is None
    assert trainer.learners["sleep"].imagined.held is not None


def test_run_reports_and_saves_to_the_end(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    reported: list[int] = []
    trainer = started(tmp_path, {"power": samplers["power"]})
    trainer.run(lambda step, _: reported.append(step), report_every=3, save_every=4)
    assert reported == [3, 6, 9, 10]
    assert load_checkpoint(tmp_path / CHECKPOINT).step == TINY.all_steps
    trainer.run(lambda step, _: reported.append(step))
    assert reported == [3, 6, 9, 10]


def test_checkpoint_gives_the_averaged_weights(
    tmp_path: Path, samplers: dict[str, WindowSampler]
) -> None:
    trainer = train(tmp_path, samplers, TINY.all_steps)
    checkpoint = load_checkpoint(tmp_path / CHECKPOINT)
    averaged = weights(checkpoint.averaged_model())
    assert same(averaged, trainer.average)
    assert not same(averaged, weights(trainer.model))
    assert same(checkpoint.part("model"), weights(trainer.model))
    assert same(checkpoint.part("credit"), weights(trainer.credits))
    assert checkpoint.settings == TINY


def test_checkpoint_of_another_format_is_refused(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(whole)
    assert FORMAT == 4
    assert load_checkpoint(path).step == TINY.all_steps
    old = whole.replace(b'\\"format\\": 4,', b'\\"format\\": 3,', 1)
    assert old != whole
    path.write_bytes(old)
    with pytest.raises(DataError, match="format 3, expected 4; train again"):
        load_checkpoint(path)


@pytest.mark.parametrize("change", ["seeds", "settings", "contracts"])
def test_another_run_in_the_same_folder_is_refused(
    tmp_path: Path, samplers: dict[str, WindowSampler], whole: bytes, change: str
) -> None:
    (tmp_path / CHECKPOINT).write_bytes(whole)
    settings = replace(TINY, learning_rate=0.5) if change == "settings" else TINY
    some = {"power": samplers["power"]} if change == "contracts" else samplers
    with pytest.raises(DataError, match=f"{change} differ"):
        Trainer(tmp_path, some, settings, seed=4 if change == "seeds" else 3)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing", "empty"])
def test_damaged_checkpoint_is_a_clear_error(tmp_path: Path, whole: bytes, damage: str) -> None:
    path = tmp_path / CHECKPOINT
    if damage != "missing":
        path.write_bytes({"truncated": whole[:-9], "garbage": b"x" * 64, "empty": b""}[damage])
    with pytest.raises(DataError, match="train"):
        load_checkpoint(path)


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as raised:
        TrainingSettings(steps=0, credit_steps=0, learning_rate=-1.0, average=2.0, ranked=17)
    assert len(raised.value.problems) == 5


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
