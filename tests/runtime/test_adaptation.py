"""Adaptation without torch: it finds what a star is worth most by, refuses to harm, survives bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_logs import log_of

from networld_runtime import adaptation
from networld_runtime.adaptation import (
    AdaptationSettings,
    adapt,
    adapt_to_logs,
    load_adapter,
    save_adapter,
)
from networld_runtime.contract import Contract
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.errors import BundleError, ConfigError, DataError
from networld_runtime.log_file import write_logs
from networld_runtime.optimiser import AdamW, one_cycle

NAMES = ("a", "b", "c")
QUICK = AdaptationSettings(steps=25)
Logs = dict[str, list[EpisodeLog]]


def made_logs(contract: Contract, slots: int, names: tuple[str, ...] = NAMES) -> Logs:
    """Return one episode of some of three cells; what they observe is noise about cell's own levels."""
    random = np.random.default_rng(0)
    logs = {}
    for index, name in enumerate(names):
        log = log_of(contract, [one for one in NAMES if one != name], range(slots))
        log.observation[:] = 15 + 5 * index + random.normal(0, 5, log.observation.shape)
        logs[name] = [log]
    return logs


def test_an_adapter_learns_what_the_support_slots_have_in_common(toy: Any) -> None:
    """The toy's worth is highest where the adapter is the mean of what the cells of a star observe."""
    logs = made_logs(toy.contract, 201)
    settings = AdaptationSettings(steps=300, learning_rate=0.02)
    adapter, report = adapt_to_logs(toy, "a", logs, settings)
    assert adapter is not None
    assert (report.accepted, report.slots, report.cells, report.steps) == (True, 200, 3, 300)
    seen = np.mean([log.observation[1:150] for (log,) in logs.values()], axis=(0, 1)) / 50
    np.testing.assert_allclose(adapter[:6], seen, atol=0.03)
    assert seen.min() > 0.3
    assert not adapter[6:].any()  # of no use in the graph


def test_worth_is_that_of_the_latest_slots_which_were_not_trained_on(toy: Any) -> None:
    """Also where the last batch is filled up: a quarter of 100 slots are 3 batches of 8 and one slot."""
    logs = made_logs(toy.contract, 101)
    adapter, report = adapt_to_logs(toy, "a", logs, QUICK)
    assert adapter is not None
    latest = np.stack([log.observation[-25:] / 50 for (log,) in logs.values()])
    before = -(latest**2).sum(axis=(0, 2))
    after = -((latest - adapter[:6]) ** 2).sum(axis=(0, 2))
    assert report.worth_before == pytest.approx(before.mean(), rel=1e-4)
    assert report.worth_after == pytest.approx(after.mean(), rel=1e-4)
    blocks = [block.mean() for block in np.array_split(after - before, 8)]
    assert report.gain_error == pytest.approx(np.std(blocks, ddof=1) / np.sqrt(8), rel=1e-3)

    def spoilt(part: slice) -> Logs:
        other = made_logs(toy.contract, 101)
        other["b"][0].observation[part] = -50
        return other

    unseen, _ = adapt_to_logs(toy, "a", spoilt(slice(-25, None)), QUICK)
    assert unseen is None or np.array_equal(unseen, adapter)
    seen, _ = adapt_to_logs(toy, "a", spoilt(slice(0, 70)), QUICK)
    assert seen is None or not np.array_equal(seen, adapter)


def test_neighbours_that_sent_nothing_are_done_without(toy: Any) -> None:
    adapter, report = adapt_to_logs(toy, "a", made_logs(toy.contract, 100, ("a",)), QUICK)
    assert adapter is not None
    assert report.cells == 1
    _, more = adapt_to_logs(toy, "a", made_logs(toy.contract, 100, ("a", "c")), QUICK)
    assert more.cells == 2


def test_adaptation_is_reproducible(toy: Any) -> None:
    logs = made_logs(toy.contract, 100)
    one, other, third = (adapt_to_logs(toy, "a", logs, QUICK, seed)[0] for seed in (5, 5, 6))
    assert one is not None
    assert np.array_equal(one, other)  # type: ignore[arg-type]
    assert not np.array_equal(one, third)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [30.0, 0.0, float("nan"), float("inf")])
def test_adapter_that_does_not_help_is_thrown_away(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    write_logs(tmp_path / "logs", made_logs(toy.contract, 100), toy.contract)
    harmful = np.full(toy.adapter_size, value, dtype=np.float32)
    monkeypatch.setattr(adaptation._Trainer, "train", lambda *_: harmful)
    output = tmp_path / "adapter.safetensors"
    report = adapt(toy, "a", tmp_path / "logs", output, QUICK, 0)
    assert not report.accepted
    json.dumps(report.to_json(), allow_nan=False)
    assert not output.exists()


def test_only_a_loss_beyond_its_error_is_believed(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that helps in some stretches of slots and harms as much in others, or harms in all."""
    logs = made_logs(toy.contract, 101, ("a",))
    logs["a"][0].observation[:] = np.where(np.arange(101) // 5 % 2, 10.0, -10.0)[:, None]
    some = np.zeros(toy.adapter_size, dtype=np.float32)
    some[:6] = -0.02
    monkeypatch.setattr(adaptation._Trainer, "train", lambda *_: some)
    _, report = adapt_to_logs(toy, "a", logs, QUICK)
    assert -report.gain_error < report.worth_after - report.worth_before < 0
    assert report.accepted
    logs["a"][0].observation[:] = 10.0
    assert not adapt_to_logs(toy, "a", logs, QUICK)[1].accepted


def test_a_bundle_recommends_settings_that_somebody_may_change(toy: Any) -> None:
    assert adaptation.settings_for(toy) == AdaptationSettings()
    recommending = replace(toy, adaptation={"steps": 7, "learning_rate": 0.01})
    found = adaptation.settings_for(recommending, {"steps": 9})
    assert found == AdaptationSettings(steps=9, learning_rate=0.01)
    with pytest.raises(BundleError, match=r"adaptation settings: .*speed.*; export again"):
        adaptation.settings_for(replace(toy, adaptation={"speed": 7}))


def test_an_adapter_is_kept_to_a_length(toy: Any) -> None:
    logs = made_logs(toy.contract, 201)
    settings = AdaptationSettings(steps=300, learning_rate=0.02)
    free, short = (
        adapt_to_logs(toy, "a", logs, replace(settings, largest_norm=norm))[1].norm
        for norm in (5.0, 0.3)
    )
    assert 0.3 < free < 5
    assert short == pytest.approx(0.3, rel=1e-3)


def test_an_adapter_that_moves_actions_too_far_is_thrown_away(toy: Any) -> None:
    """However much it is said to be worth."""
    logs = made_logs(toy.contract, 201)
    settings = AdaptationSettings(steps=300, learning_rate=0.02)
    _, report = adapt_to_logs(toy, "a", logs, settings)
    assert report.accepted
    assert 0 < report.divergence < settings.largest_divergence
    bound = 0.9 * report.divergence
    adapter, bounded = adapt_to_logs(toy, "a", logs, replace(settings, largest_divergence=bound))
    assert adapter is None
    assert bounded.reason.startswith("actions move too far from the base model's (0.")
    assert bounded.worth_after > bounded.worth_before


def test_few_slots_take_few_steps(toy: Any) -> None:
    logs = made_logs(toy.contract, 100)
    settings = AdaptationSettings(steps=50, passes=2)  # 73 slots to train on, batches of 8
    assert adapt_to_logs(toy, "a", logs, settings)[1].steps == 19
    assert adapt_to_logs(toy, "a", logs, replace(settings, passes=9))[1].steps == 50


def test_too_few_slots_say_how_many_are_needed(toy: Any) -> None:
    adapter, report = adapt_to_logs(toy, "a", made_logs(toy.contract, 30), QUICK)
    assert adapter is None
    assert not report.accepted
    assert report.reason == "29 slots, at least 64 are needed"
    assert toy.loaded == []


def test_no_slot_is_in_support_and_query() -> None:
    support, query = adaptation._split(count=100, query_share=0.25)
    assert support.tolist() == list(range(74))
    assert query.tolist() == list(range(75, 100))


def test_actions_of_every_kind_are_drawn_and_masked(hybrid_toy: Any) -> None:
    logs = made_logs(hybrid_toy.contract, 100)
    adapt_to_logs(hybrid_toy, "b", logs, replace(QUICK, steps=2))
    calls = hybrid_toy.calls("gradient")
    assert calls[-1]["in_mask"].shape == calls[-1]["in_uniform"].shape == (8, 7, 20)
    first = np.stack([call["in_mask"][:, :3, 0] for call in calls])
    assert set(first.ravel().tolist()) == {0.0, 1.0}  # the logs forbid it now and then
    assert all(call["in_mask"][:, :, 1:].all() for call in calls)
    assert calls[-1]["in_weight"].max() == 1
    assert not calls[-1]["in_weight"][:, 3:].any()
    drawn = np.stack([call["in_uniform"] for call in calls])
    assert ((drawn >= 0) & (drawn < 1)).all()


def test_alternatives_of_a_known_cell_are_weighed_in_each_slot_of_a_step() -> None:
    random = np.random.default_rng(0)
    asked = adaptation._some_cells(random, 400, np.array([1, 0, 1, 1, 0, 1, 1], dtype=np.float32))
    assert asked.shape == (400, 1, 7)
    assert (asked.sum(axis=2) == 1).all()
    counts = asked.sum(axis=(0, 1))
    assert not counts[[1, 4]].any()
    assert (np.abs(counts[[0, 2, 3, 5, 6]] - 80) < 30).all()
    alone = adaptation._some_cells(random, 50, np.array([1, 0, 0, 0, 0, 0, 0], dtype=np.float32))
    assert (alone[:, 0, 0] == 1).all()


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 200])
def test_damaged_files_are_clear_errors(toy: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError):
        load_adapter(path, toy)
    with pytest.raises(DataError):
        adapt(toy, "a", path, tmp_path / "out", QUICK, 0)


def test_logs_of_other_cells_only_are_refused(toy: Any, tmp_path: Path) -> None:
    write_logs(tmp_path / "logs", made_logs(toy.contract, 100), toy.contract)
    with pytest.raises(DataError, match="no logs of d"):
        adapt(toy, "d", tmp_path / "logs", tmp_path / "out", QUICK, 0)


def test_file_and_memory_give_the_same_adapter(toy: Any, tmp_path: Path) -> None:
    logs = made_logs(toy.contract, 100)
    write_logs(tmp_path / "logs", logs, toy.contract)
    report = adapt(toy, "a", tmp_path / "logs", tmp_path / "out", QUICK, 3)
    adapter, same = adapt_to_logs(toy, "a", logs, QUICK, 3)
    assert replace(report, seconds=0) == replace(same, seconds=0)
    np.testing.assert_array_equal(load_adapter(tmp_path / "out", toy), adapter)


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
        AdaptationSettings(steps=0, learning_rate=0, query_share=2, minimum_slots=15)
    assert len(raised.value.problems) == 4


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
