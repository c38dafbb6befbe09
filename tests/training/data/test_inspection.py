"""Looking into data sets: figures checked by hand, tables and pictures of every task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from networld_runtime.contract import ActionBins, Feature
from networld_training import cli
from networld_training.data.figures import ActionTally, BehaviourTally, FeatureTally, SpreadTally
from networld_training.data.inspection import inspect
from networld_training.data.qualities import Behaviour, Quality
from networld_training.data.shards import read_shard
from networld_training.tasks.registry import TASKS
from networld_training.tasks.spec import Choice, Kpi

Originals = Callable[[str], Path]


def test_returns_and_merits_by_behaviour() -> None:
    quality = Quality(
        "three", tuple(Behaviour(rule, 1 / 3, False) for rule in ("one", "unused", "two"))
    )
    tally = BehaviourTally(quality, (Kpi("rate", "b/s"),))
    # two slots, three cells: returns 2, 4 and 12 in one network, 20, 20 and 26 in the other
    for network, first, metric, behaviours in (
        ("small", [1.0, 2.0, 6.0], 3.0, [0, 0, 2]),
        ("large", [10.0, 10.0, 13.0], 9.0, [0, 2, 2]),
    ):
        rewards = np.array([[first, first]], dtype=np.float32)
        tally.add(
            {
                "rewards": rewards,
                "behaviours": np.array([behaviours], dtype=np.int32),
                "metrics": np.array([[metric]]),
            },
            network,
        )
    one, two = tally.figures()
    assert (one.rule, two.rule) == ("one", "two")
    assert one.share == two.share == 0.5
    assert one.returns.tolist() == [2, 4, 20]
    assert two.returns.tolist() == [12, 20, 26]
    # the networks' means are 6 and 22
    assert one.relative_returns.tolist() == [-4, -2, -2]
    assert two.relative_returns.tolist() == [6, -2, 4]
    assert one.kpis == {"rate": (3 + 3 + 9) / 3}
    assert two.kpis == {"rate": (3 + 9 + 9) / 3}


def test_coverage_of_bins() -> None:
    tally = ActionTally(ActionBins("power_db", -2.0, 0.0, 3, off=-9.0))
    tally.add(np.array([[-9.0, -2.0, -1.6], [-1.4, -1.0, -0.6]], dtype=np.float32))
    tally.add(np.array([-9.0, -9.0], dtype=np.float32))
    figures = tally.figures()
    assert figures.labels == ("off", "-2", "-1", "0")
    assert figures.counts == (3, 2, 3, 0)
    assert figures.tried == 3
    shares = np.array([3, 2, 3]) / 8
    assert figures.evenness == pytest.approx(-(shares * np.log(shares)).sum() / np.log(4))


@pytest.mark.parametrize(("values", "evenness"), [([0, 1, 2, 2, 1, 0], 1.0), ([1, 1], 0.0)])
def test_evenness_of_choices(values: list[int], evenness: float) -> None:
    tally = ActionTally(Choice("user", ("first", "second", "mute")))
    tally.add(np.array(values, dtype=np.float32))
    assert tally.figures().evenness == pytest.approx(evenness)


def test_features_outside_their_ranges() -> None:
    tally = FeatureTally([Feature("gain", "dB", 0.0, 1.0), Feature("users", "", 0.0, 8.0)])
    tally.add(np.array([[[-1.0, 0.0], [0.5, 8.0]]], dtype=np.float32))
    tally.add(np.array([[[1.0, 9.0], [3.5, 7.0]]], dtype=np.float32))
    gain, users = tally.figures()
    assert (gain.lowest, gain.mean, gain.highest) == (-1, 1, 3.5)
    assert (gain.below, gain.above) == (0.25, 0.25)
    assert (users.lowest, users.mean, users.highest) == (0, 6, 9)
    assert (users.below, users.above) == (0, 0.25)


def test_spread_by_hand() -> None:
    tally = SpreadTally(["handover", "fostering"])
    tally.add(np.array([[[0.0, 3.0], [0.5, 1.0]]], dtype=np.float32))
    tally.add(np.array([[0.0, 0.0], [5.5, 2.0]], dtype=np.float32))
    handover, fostering = tally.figures()
    assert (handover.name, fostering.name) == ("handover", "fostering")
    assert (handover.zero, handover.lowest, handover.mean, handover.highest) == (0.5, 0, 1.5, 5.5)
    assert (fostering.zero, fostering.lowest, fostering.mean, fostering.highest) == (
        0.25,
        0,
        1.5,
        3,
    )


def test_whole_set_is_counted(original: Originals, task_name: str) -> None:
    folder = original(task_name)
    found = inspect(folder)
    cells = found.cells[0]
    assert found.slots == (4,)
    assert sum(found.networks.values()) == found.manifest.episodes == 5
    assert sum(one.returns.size for one in found.behaviours) == 5 * cells
    assert sum(one.share for one in found.behaviours) == pytest.approx(1)
    assert all(sum(one.counts) == 5 * 4 * cells for one in found.actions)
    arrays = [read_shard(folder, found.manifest, shard) for shard in found.manifest.shards]
    credit = np.concatenate([one["credits"].ravel() for one in arrays])
    assert found.credits.mean == pytest.approx(credit.mean(), rel=1e-4)
    assert tuple(one.name for one in found.couplings) == TASKS[task_name].make.couplings
    for index, one in enumerate(found.couplings):
        coupling = np.concatenate([shard["couplings"][..., index].ravel() for shard in arrays])
        assert (one.lowest, one.highest) == (coupling.min(), coupling.max())
        assert one.zero == (coupling == 0).mean()
    files = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
    assert found.size_bytes == sum(path.stat().st_size for path in files)


def test_command_prints_writes_and_draws(
    original: Originals, task_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, file = tmp_path / "set.png", tmp_path / "set.json"
    folder = original(task_name)
    arguments = ["data", "inspect", str(folder), "--picture", str(picture), "--json", str(file)]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert figures == json.loads(json.dumps(inspect(folder).to_json()))
    assert f"networld/{task_name}/mixed-v0" in printed
    for one in figures["behaviours"]:
        assert one["rule"] in printed
        assert f"{one['return_mean']:.4g}" in printed
    assert "Credits, and couplings to neighbours" in printed
    for one in (figures["credits"], *figures["couplings"]):
        assert one["name"].split()[0] in printed
        assert f"{one['mean']:.3g}" in printed
    pixels = image.imread(picture)
    assert pixels.shape[1] > 1000
    assert 0.01 < (pixels[..., :3].min(axis=-1) < 0.9).mean() < 0.9


@pytest.mark.parametrize("option", ["--json", "--picture"])
def test_result_that_cannot_be_written_is_refused_first(
    original: Originals, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "inspect", str(original("power")), option, "nowhere/file"]
    assert cli.main(arguments) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{option}: nowhere/file: the folder does not exist" in captured.err
