"""Reading data sets: whatever is wrong is told with its value, and nothing is ever half-read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.errors import DataError
from networld_training.data.manifest import Manifest, read_manifest, write_manifest
from networld_training.data.shards import Arrays, read_shard
from networld_training.data.verification import verify
from networld_training.tasks.registry import TASKS
from networld_training.tasks.spec import Choice

Make = Callable[..., Manifest]
Rewrite = Callable[[Path, Callable[[Arrays], None]], None]

COMMAND = (
    "`networld data make --output {folder} --task power --quality mixed --scenario "
    "networld/power/train-v0 --episodes 5 --shard-episodes 2 --seed 1 --slots 4`"
)


def problems(folder: Path) -> list[str]:
    """Return what `verify` says of a set, without the command that mends it."""
    with pytest.raises(DataError) as raised:
        verify(folder)
    assert raised.value.problems[-1].endswith("; mend it with " + COMMAND.format(folder=folder))
    raised.value.problems[-1] = raised.value.problems[-1].rpartition("; mend it with")[0]
    return raised.value.problems


def test_intact_set_is_verified(original: Callable[[str], Path], task_name: str) -> None:
    manifest = verify(original(task_name))
    assert (manifest.task, manifest.episodes) == (task_name, 5)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_shard(power_set: Path, keep: int) -> None:
    manifest = read_manifest(power_set)
    path = power_set / "shard-0000.safetensors"
    content = path.read_bytes()[:keep]
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_shard(power_set, manifest, manifest.shards[0])
    expected = manifest.shards[0].sha256[:12]
    (problem,) = raised.value.problems
    assert str(raised.value).startswith(str(path))
    assert problem.startswith(f"damaged: {len(content)} bytes with SHA-256 ")
    assert problem.endswith(
        f", expected {expected}…; make it again with " + COMMAND.format(folder=power_set)
    )


def test_all_damaged_shards_are_listed(power_set: Path) -> None:
    flipped = power_set / "shard-0001.safetensors"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    (power_set / "shard-0002.safetensors").unlink()
    first, second = problems(power_set)
    assert first.startswith(f"shard-0001.safetensors: damaged: {len(content)} bytes with SHA-256")
    assert second == "shard-0002.safetensors: missing"


def test_unfinished_set_is_not_verified(power_set: Path) -> None:
    manifest = read_manifest(power_set)
    (power_set / manifest.shards[2].file).write_bytes(b"")
    first, _, third = manifest.shards
    write_manifest(power_set, replace(manifest, shards=(first, third)))
    with pytest.raises(DataError) as raised:
        verify(power_set)
    damaged, unfinished = raised.value.problems
    assert damaged.startswith("shard-0002.safetensors: damaged: 0 bytes")
    assert unfinished == "2 of 3 shards; finish it with " + COMMAND.format(folder=power_set)


def test_not_safetensors(power_set: Path) -> None:
    manifest = read_manifest(power_set)
    first, *others = manifest.shards
    (power_set / first.file).write_bytes(b"no tensors")
    first = replace(first, sha256=hashlib.sha256(b"no tensors").hexdigest())
    write_manifest(power_set, replace(manifest, shards=(first, *others)))
    (problem,) = problems(power_set)
    assert problem.startswith("shard-0000.safetensors: not safetensors (")


def removed(arrays: Arrays) -> None:
    del arrays["mean_field"]
    arrays["extra"] = np.zeros(1)


def reshaped(arrays: Arrays) -> None:
    arrays["actions"] = arrays["actions"][:, :3].astype(np.float64)


def out_of_range(arrays: Arrays) -> None:
    arrays["observations"][1, 2, 3, 4] = np.nan
    arrays["rewards"][0, 1, 2] = np.inf
    arrays["utilities"][0, 0, 0] = -np.inf
    arrays["credits"][1, 3, 6] = np.nan
    arrays["metrics"][0, 3] = np.nan
    arrays["mean_field"][1, 4, 6, 0] = 4.5
    arrays["couplings"][0, 1, 2, 3, 0] = -0.5
    arrays["couplings"][1, 3, 6, 5, 0] = np.nan
    arrays["actions"][0, 1, 2, 0] = 3
    arrays["actions"][1, 0, 0, 0] = np.nan
    arrays["behaviours"][1, 6] = 5
    arrays["seeds"][1] = 7
    arrays["neighbours"][6, 5] = 7


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (removed, ["array 'extra': not expected here", "array 'mean_field' is missing"]),
        (
            reshaped,
            ["array 'actions' is float64 (2, 3, 7, 1): expected float32 (2, 4, 7, 1)"],
        ),
        (
            out_of_range,
            [
                "observations at [1, 2, 3, 4] = nan: expected a finite number",
                "rewards at [0, 1, 2] = inf: expected a finite number",
                "utilities at [0, 0, 0] = -inf: expected a finite number",
                "credits at [1, 3, 6] = nan: expected a finite number",
                "metrics at [0, 3] = nan: expected a finite number",
                "mean_field log_price at [1, 4, 6] = 4.5: expected -16 to 4",
                "couplings 'gain to the scheduled user, over noise at full power' at [0, 1, 2, 3] = -0.5: "
                "expected a finite number from 0 (2 such values)",
                "actions power_db at [0, 1, 2] = 3: expected -40 to 0 (2 such values)",
                "behaviours at [1, 6] = 5: expected 0 to 4",
                "seeds at [1] = 7: expected 2147483648 to 4294967295",
                "neighbours at [6, 5] = 7: expected 0 to 6",
            ],
        ),
    ],
    ids=["removed", "reshaped", "out of range"],
)
def test_wrong_content_is_listed_whole(
    power_set: Path,
    rewrite: Rewrite,
    change: Callable[[Arrays], None],
    expected: list[str],
) -> None:
    rewrite(power_set, change)
    assert problems(power_set) == [f"shard-0000.safetensors: {line}" for line in expected]


@pytest.mark.parametrize("value", [-1e-6, np.nan, np.inf])
def test_wrong_coupling_is_named(
    original: Callable[[str], Path], tmp_path: Path, rewrite: Rewrite, task_name: str, value: float
) -> None:
    folder = Path(shutil.copytree(original(task_name), tmp_path / task_name))

    def change(arrays: Arrays) -> None:
        arrays["couplings"][1, 3, 6, 5, -1] = value

    rewrite(folder, change)
    with pytest.raises(DataError) as raised:
        verify(folder)
    name = TASKS[task_name].make.couplings[-1]
    assert raised.value.problems[0].startswith(
        f"shard-0000.safetensors: couplings {name!r} at [1, 3, 6, 5] = {value:g}: "
        "expected a finite number from 0; mend it with"
    )


def test_couplings_are_expected_where_the_manifest_names_them(power_set: Path) -> None:
    manifest = read_manifest(power_set)
    for couplings, said in (
        ((), "array 'couplings': not expected here"),
        (
            ("gain", "another"),
            "array 'couplings' is float32 (2, 4, 7, 6, 1): expected float32 (2, 4, 7, 6, 2)",
        ),
    ):
        with pytest.raises(DataError) as raised:
            read_shard(power_set, replace(manifest, couplings=couplings), manifest.shards[0])
        (problem,) = raised.value.problems
        assert problem.startswith(said)


def forbidden_choice(arrays: Arrays) -> None:
    chosen = int(arrays["actions"][1, 2, 3, 0])
    arrays["action_mask"][1, 2, 3] = 1
    arrays["action_mask"][1, 2, 3, chosen] = 0


def impossible_mask(arrays: Arrays) -> None:
    arrays["action_mask"][0, 4, 1] = 0
    arrays["action_mask"][0, 4, 2, 5] = 2


@pytest.mark.parametrize("task", [name for name, entry in TASKS.items() if entry.spec.mask_size])
def test_wrong_mask(
    original: Callable[[str], Path], tmp_path: Path, rewrite: Rewrite, task: str
) -> None:
    folder = Path(shutil.copytree(original(task), tmp_path / task))
    manifest = read_manifest(folder)
    component = next(one for one in manifest.spec.actions if isinstance(one, Choice) and one.masked)
    chosen = int(read_shard(folder, manifest, manifest.shards[0])["actions"][1, 2, 3, 0])
    rewrite(folder, forbidden_choice)
    with pytest.raises(DataError) as raised:
        verify(folder)
    assert raised.value.problems[0].startswith(
        f"shard-0000.safetensors: actions {component.name} at [1, 2, 3] = {chosen}: "
        "expected a choice that the action mask allows; mend it with"
    )


@pytest.mark.parametrize("task", [name for name, entry in TASKS.items() if entry.spec.mask_size])
def test_impossible_mask(
    original: Callable[[str], Path], tmp_path: Path, rewrite: Rewrite, task: str
) -> None:
    folder = Path(shutil.copytree(original(task), tmp_path / task))
    rewrite(folder, impossible_mask)
    with pytest.raises(DataError) as raised:
        verify(folder)
    first, second = raised.value.problems
    assert first == "shard-0000.safetensors: action_mask at [0, 4, 2, 5] = 2: expected 0 or 1"
    assert second.startswith(
        "shard-0000.safetensors: action_mask at [0, 4, 1] = 0: expected a valid choice at least"
    )


def test_wrong_content_is_made_again(power_set: Path, make: Make, rewrite: Rewrite) -> None:
    before = read_manifest(power_set)
    rewrite(power_set, out_of_range)
    assert make(power_set) == before == verify(power_set)


def test_missing_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no manifest.json; make the data set with `networld data make"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "format = None: expected 3"),
        ('{"format": 1, "contract": {}}', "format = 1: expected 3"),
        ('{"format": 3}', "damaged"),
    ],
)
def test_bad_manifest_is_a_clear_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError) as raised:
        read_manifest(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "manifest.json"))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1, "episodes": "5"}, "episodes = '5': expected a whole number, at least 1"),
        ({"dataset_id": "networld/power/best-v0"}, "expected 'networld/power/mixed-v0'"),
        ({"spec_sha256": "00"}, "spec_sha256 = '00': expected that of spec"),
        ({"episodes": 2}, "shard-0001.safetensors"),
        ({"shards": 5}, "damaged"),
        ({"couplings": 5}, "damaged"),
        ({"more": 5}, "damaged"),
    ],
)
def test_manifest_that_does_not_fit_together(
    power_set: Path, change: dict[str, Any], said: str
) -> None:
    listed = read_manifest(power_set).to_json() | change
    (power_set / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(DataError) as raised:
        read_manifest(power_set)
    assert said in str(raised.value)


def test_manifest_of_another_set(power_set: Path, make: Make, tmp_path: Path) -> None:
    write_manifest(power_set, make(tmp_path / "other", seed=2))
    with pytest.raises(DataError) as raised:
        verify(power_set)
    assert len(raised.value.problems) == 3
    assert all("damaged: " in problem for problem in raised.value.problems)
