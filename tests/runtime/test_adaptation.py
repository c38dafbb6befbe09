"""Fine-tuning without torch: it learns a shifted world, refuses to harm, and survives bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime import adaptation
from networld_runtime.adaptation import AdaptationSettings, adapt, load_adapter, save_adapter
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import Contract
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.experience import Experience, Windows
from networld_runtime.optimiser import AdamW, one_cycle

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"
QUICK = AdaptationSettings(steps=25)


def experience(bundle: Bundle, slots: int, shift: float = 0.0) -> Experience:
    """Return slots of a slow random walk; a shift draws it to one side."""
    random = np.random.default_rng(0)
    contract = bundle.contract
    kept = Experience(contract, neighbours_count=6, capacity=max(slots, 1))
    latent = np.zeros(contract.latent_size, dtype=np.float32)
    for slot in range(slots):
        step = random.normal(0, 0.1, latent.shape)
        latent = np.clip(0.95 * latent + step + 0.05 * shift, -1, 1).astype(np.float32)
        field = np.append(0.5 * latent[: contract.message_size], 1.0).astype(np.float32)
        kept.add(0, slot, latent, field, random.uniform(-20, 0, 1).astype(np.float32))
        kept.add_own_utility(slot, float(random.normal(3, 1)))
    return kept


def test_query_loss_falls_on_a_shifted_world_and_the_adapter_is_kept(tmp_path: Path) -> None:
    bundle = load_bundle(SHIPPED, "power")
    experience(bundle, 200, shift=0.6).save(tmp_path / "experience.safetensors")
    output = tmp_path / "adapter.safetensors"
    report = adapt(bundle, tmp_path / "experience.safetensors", output, QUICK)
    assert report.accepted
    assert report.query_loss_after < report.query_loss_before
    assert np.any(load_adapter(output, bundle))


def test_an_adapter_learns_what_the_support_windows_have_in_common(
    toy: Any, tmp_path: Path
) -> None:
    """The toy's adapter predicts the next latent, so the best one is their mean."""
    file, output = tmp_path / "experience.safetensors", tmp_path / "adapter.safetensors"
    walk = experience(toy, 400, shift=0.6)
    walk.save(file)
    settings = AdaptationSettings(steps=300, learning_rate=0.02, weight_decay=0.0)
    report = adapt(toy, file, output, settings)
    assert report.accepted
    latents = walk.windows().latents[: int(0.75 * 396) - 4]
    expected = latents[:, 1, :8].mean(axis=0)
    adapter = load_adapter(output, toy)
    np.testing.assert_allclose(adapter[:8], expected, atol=0.05)
    assert not adapter[8:].any()  # the classifier's part, which is left alone
    assert expected.min() > 0.2


def test_loss_is_the_mean_over_all_query_windows(toy: Any, tmp_path: Path) -> None:
    """Also where the last batch is padded: 121 windows, a quarter of which are 3 batches and 6."""
    file = tmp_path / "experience.safetensors"
    walk = experience(toy, 125)
    walk.save(file)
    report = adapt(toy, file, tmp_path / "out", QUICK)
    latents = walk.windows().latents[-30:]
    errors = (latents[:, 1, :10] ** 2).sum(axis=1)
    assert report.query_loss_before == pytest.approx(errors.mean(), rel=1e-4)


def test_adaptation_is_reproducible(toy: Any, tmp_path: Path) -> None:
    experience(toy, 120, shift=0.6).save(tmp_path / "experience.safetensors")
    for name in ("one", "two"):
        adapt(toy, tmp_path / "experience.safetensors", tmp_path / name, QUICK, seed=5)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("value", [30.0, float("nan"), float("inf")])
def test_harmful_adapter_is_thrown_away(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    experience(toy, 120).save(tmp_path / "experience.safetensors")
    harmful = np.full(toy.adapter_size, value, dtype=np.float32)
    monkeypatch.setattr(adaptation._Trainer, "train", lambda *_: harmful)
    output = tmp_path / "adapter.safetensors"
    report = adapt(toy, tmp_path / "experience.safetensors", output, QUICK)
    assert not report.accepted
    assert not report.query_loss_after < report.query_loss_before
    json.dumps(report.to_json(), allow_nan=False)
    assert not output.exists()


def test_only_the_chosen_parts_are_trained(toy: Any, tmp_path: Path) -> None:
    experience(toy, 120, shift=0.6).save(tmp_path / "experience.safetensors")
    for part in toy.adapter_parts:
        settings = replace(QUICK, parts=(part,))
        adapt(toy, tmp_path / "experience.safetensors", tmp_path / part, settings)
        start, end = toy.adapter_parts[part]
        adapter = load_adapter(tmp_path / part, toy)
        assert adapter[start:end].any()
        adapter[start:end] = 0
        assert not adapter.any()
    settings = replace(QUICK, parts=("encoder",))
    with pytest.raises(ConfigError, match="denoiser"):
        adapt(toy, tmp_path / "experience.safetensors", tmp_path / "out", settings)


def test_actions_of_every_kind_become_targets(hybrid: Contract) -> None:
    count, horizon = 5, hybrid.horizon
    windows = Windows(
        latents=np.zeros((count, horizon + 1, 24), dtype=np.float32),
        mean_field=np.zeros((count, 17), dtype=np.float32),
        actions=np.tile(np.array([1.0, 5.0, 2.0], dtype=np.float32), (count, horizon, 1)),
        rewards=np.ones((count, horizon), dtype=np.float32),
    )
    target = adaptation._feeds(windows, hybrid)["in_action"]
    assert target.shape == (count, horizon, hybrid.action_size)
    expected = np.zeros(hybrid.action_size)
    expected[[1, 4 + 11, 19]] = 1
    np.testing.assert_array_equal(target, np.broadcast_to(expected, target.shape))


def test_too_little_experience_says_how_much_is_needed(toy: Any, tmp_path: Path) -> None:
    experience(toy, 30).save(tmp_path / "experience.safetensors")
    report = adapt(toy, tmp_path / "experience.safetensors", tmp_path / "out", QUICK)
    assert not report.accepted
    assert "at least 64" in report.reason


def test_no_slot_is_in_support_and_query() -> None:
    support, query = adaptation._split(count=100, query_share=0.25, horizon=7)
    assert support[-1] + 7 < query[0]
    assert query[-1] == 99


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 200])
def test_damaged_files_are_clear_errors(toy: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError):
        load_adapter(path, toy)
    with pytest.raises(DataError):
        adapt(toy, path, tmp_path / "out", QUICK)


def test_adapter_of_another_bundle_is_refused(toy: Any, tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    zeros = np.zeros(toy.adapter_size, dtype=np.float32)
    save_adapter(path, zeros, replace(toy, digest="0" * 64))
    with pytest.raises(DataError, match="another bundle"):
        load_adapter(path, toy)
    save_adapter(path, zeros * np.float32(np.nan), toy)
    with pytest.raises(DataError, match="finite"):
        load_adapter(path, toy)


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as raised:
        AdaptationSettings(steps=0, learning_rate=0, query_share=2)
    assert len(raised.value.problems) == 3


def test_adamw_follows_the_algorithm_of_the_paper() -> None:
    optimiser = AdamW(1, weight_decay=0.1)
    vector = np.array([2.0], dtype=np.float32)
    mean = square = 0.0
    expected = 2.0
    for step, gradient in enumerate([0.5, -1.0, 2.0], start=1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        change = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        expected -= 0.01 * (change + 0.1 * expected)
        vector = optimiser.step(vector, np.array([gradient], dtype=np.float32), 0.01)
    assert vector[0] == pytest.approx(expected, rel=1e-5)


def test_one_cycle_rises_then_falls_to_zero() -> None:
    assert one_cycle(0.0) == 0
    assert one_cycle(0.1) == pytest.approx(1)
    assert one_cycle(1.0) == pytest.approx(0, abs=1e-12)
    assert one_cycle(0.3) > one_cycle(0.6) > one_cycle(0.9)
