"""Experience: windows hold what happened, never across a gap, and files are checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from networld_runtime.contract import Contract
from networld_runtime.errors import DataError
from networld_runtime.experience import Experience, load_windows


def _fill(
    experience: Experience, slots: list[tuple[int, int]], rewarded: bool = True
) -> Experience:
    """Add slots whose latents, mean fields and actions all tell the slot they belong to."""
    for episode, slot in slots:
        latent = np.full(24, slot / 1000, dtype=np.float32)
        field = np.full(17, slot / 500, dtype=np.float32)
        experience.add(episode, slot, latent, field, np.array([-(slot % 20)], dtype=np.float32))
        if rewarded:
            experience.add_own_utility(slot, float(slot))
    return experience


def test_windows_hold_what_was_added(contract: Contract) -> None:
    experience = _fill(Experience(contract, 2, 100), [(0, slot) for slot in range(10)])
    windows = experience.windows()
    assert windows.latents.shape == (6, 5, 24)
    assert windows.mean_field.shape == (6, 17)
    assert windows.actions.shape == (6, 4, 1)
    assert windows.rewards.shape == (6, 4)
    for array in (windows.latents, windows.mean_field, windows.actions, windows.rewards):
        assert array.dtype == np.float32
    np.testing.assert_allclose(windows.latents[2, :, 0], np.arange(2, 7) / 1000)
    np.testing.assert_allclose(windows.mean_field[2], 2 / 500)
    np.testing.assert_allclose(windows.actions[2, :, 0], [-2, -3, -4, -5])
    np.testing.assert_allclose(windows.rewards[2], [2, 3, 4, 5])


def test_reward_is_the_mean_of_own_and_heard_utilities(contract: Contract) -> None:
    experience = _fill(Experience(contract, 2, 100), [(0, slot) for slot in range(6)])
    experience.add_neighbour_utilities(1, [4.0, 7.0])
    experience.add_neighbour_utilities(2, [6.0])
    np.testing.assert_allclose(experience.windows().rewards[0], [0, 4, 4, 3])
    with pytest.raises(ValueError, match="3 utilities"):
        experience.add_neighbour_utilities(1, [1.0, 2.0, 3.0])


def test_unknown_reward_is_not_used(contract: Contract) -> None:
    experience = _fill(Experience(contract, 1, 100), [(0, slot) for slot in range(6)], False)
    assert len(experience.windows().rewards) == 0
    for slot in range(4):
        experience.add_own_utility(slot, 1.0)
    assert len(experience.windows().rewards) == 1


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2)), max_size=40), st.integers(1, 30))
def test_windows_are_those_of_a_plain_search(
    contract: Contract, steps: list[tuple[bool, int]], capacity: int
) -> None:
    episode, slot, slots = 0, 0, []
    for new_episode, gap in steps:
        episode, slot = episode + new_episode, slot + gap
        slots.append((episode, slot))
    windows = _fill(Experience(contract, 1, capacity), slots).windows()
    kept = slots[-capacity:]
    expected = [
        first
        for index, first in enumerate(kept)
        if kept[index : index + 5] == [(first[0], first[1] + step) for step in range(5)]
    ]
    np.testing.assert_allclose(windows.rewards[:, 0], [slot for _, slot in expected])


def test_wrong_shape_is_an_error(contract: Contract) -> None:
    latent, field, action = (np.zeros(size, dtype=np.float32) for size in (24, 17, 1))
    experience = Experience(contract, 1, 10)
    with pytest.raises(ValueError, match=r"latent of shape \(3,\)"):
        experience.add(0, 0, latent[:3], field, action)
    with pytest.raises(ValueError, match=r"action of shape \(2,\)"):
        experience.add(0, 0, latent, field, np.zeros(2, dtype=np.float32))


def test_every_component_of_an_action_is_kept_in_its_place(
    hybrid: Contract, tmp_path: Path
) -> None:
    experience = Experience(hybrid, 0, 10)
    taken = np.array([[slot % 4, slot - 2, slot % 3] for slot in range(6)], dtype=np.float32)
    for slot, action in enumerate(taken):
        latent, field = np.zeros(24, dtype=np.float32), np.zeros(17, dtype=np.float32)
        experience.add(0, slot, latent, field, action)
        experience.add_own_utility(slot, 0.0)
    experience.save(tmp_path / "experience.safetensors")
    windows = load_windows(tmp_path / "experience.safetensors", hybrid)
    np.testing.assert_array_equal(windows.actions[1], taken[1:5])


def test_actions_that_the_contract_does_not_allow_are_named(
    hybrid: Contract, tmp_path: Path
) -> None:
    file = tmp_path / "experience.safetensors"
    experience = Experience(hybrid, 0, 10)
    action = np.array([0.5, 7.0, 3.0], dtype=np.float32)
    experience.add(0, 0, np.zeros(24, dtype=np.float32), np.zeros(17, dtype=np.float32), action)
    experience.save(file)
    with pytest.raises(DataError) as caught:
        load_windows(file, hybrid)
    assert len(caught.value.problems) == 3
    assert "a value of offset_db is out of range, expected -6 to 6" in str(caught.value)


def test_saved_experience_loads_the_same(contract: Contract, tmp_path: Path) -> None:
    file = tmp_path / "experience.safetensors"
    experience = _fill(Experience(contract, 2, 8), [(0, slot) for slot in range(20)])
    experience.add_neighbour_utilities(18, [1.0])
    experience.save(file)
    for capacity in (None, 100):
        loaded = Experience.load(file, contract, capacity)
        assert loaded.neighbours_count == 2
        np.testing.assert_array_equal(loaded.windows().rewards, experience.windows().rewards)
    np.testing.assert_array_equal(
        load_windows(file, contract).latents, experience.windows().latents
    )
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    grown = _fill(Experience.load(file, contract, 6), [(0, 20)])
    np.testing.assert_allclose(grown.windows().rewards[:, 0], [15, 16])


def test_empty_experience_has_no_windows_and_can_be_saved(
    contract: Contract, tmp_path: Path
) -> None:
    file = tmp_path / "experience.safetensors"
    Experience(contract, 0, 5).save(file)
    assert load_windows(file, contract).latents.shape == (0, 5, 24)


def test_damaged_files_are_data_errors(contract: Contract, tmp_path: Path) -> None:
    file = tmp_path / "experience.safetensors"
    with pytest.raises(DataError, match="not a file of experience"):
        load_windows(file, contract)
    _fill(Experience(contract, 2, 8), [(0, slot) for slot in range(8)]).save(file)
    whole = file.read_bytes()
    for damaged in (b"", b"\xff" * 100, whole[:-5], whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(DataError):
            load_windows(file, contract)


def test_file_of_another_contract_or_shape_tells_every_problem(
    contract: Contract, tmp_path: Path
) -> None:
    file = tmp_path / "experience.safetensors"
    _fill(Experience(contract, 2, 8), [(0, slot) for slot in range(8)]).save(file)
    with pytest.raises(DataError, match="another contract"):
        load_windows(file, replace(contract, discount=0.1))
    rows = load_file(file)
    rows["latent"] = rows["latent"][:, :3].copy()
    rows["action"] = np.full((8, 1), np.nan, dtype=np.float32)
    save_file(rows, file)
    with pytest.raises(DataError) as caught:
        load_windows(file, contract)
    assert len(caught.value.problems) == 5
    del rows["slot"]
    save_file(rows, file)
    with pytest.raises(DataError, match="expected"):
        load_windows(file, contract)


def test_folder_that_cannot_be_written_is_a_data_error(contract: Contract, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        Experience(contract, 0, 5).save(tmp_path / "none" / "experience.safetensors")
