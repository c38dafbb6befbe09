"""Experience: the newest slots in order, cut into episodes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.contract import Contract
from networld_runtime.episode_log import LARGEST_LOGS
from networld_runtime.experience import Experience


def fill(experience: Experience, slots: list[tuple[int, int]]) -> Experience:
    """Add slots whose values tell the slot they belong to."""
    for episode, slot in slots:
        observation = np.full(6, slot / 10, dtype=np.float32)
        coupling = np.full((2, 1), slot, dtype=np.float32)
        experience.add(episode, slot, observation, coupling, None)
    return experience


def test_logs_hold_what_was_added(contract: Contract) -> None:
    experience = Experience(contract, ["b", "c"], 1, 10)
    first, second = fill(experience, [(4, 7), (4, 8), (4, 10), (5, 11)]).logs(epoch=99)
    assert (first.epoch, first.episode, first.neighbours) == (99, 4, ("b", "c"))
    assert (second.episode, second.slots.tolist()) == (5, [11])
    assert first.slots.tolist() == [7, 8, 10]
    np.testing.assert_allclose(first.observation[:, 3], [0.7, 0.8, 1.0])
    np.testing.assert_array_equal(first.coupling[:, 1, 0], [7, 8, 10])
    assert first.mask.shape == (3, 0)


def test_masks_are_kept_and_all_is_possible_without_one(hybrid: Contract) -> None:
    experience = Experience(hybrid, [], 1, 10)
    observation, coupling = np.zeros(6, np.float32), np.zeros((0, 1), np.float32)
    experience.add(0, 0, observation, coupling, np.array([True, False, False, True]))
    experience.add(0, 1, observation, coupling, None)
    (log,) = experience.logs(0)
    assert log.mask.tolist() == [[True, False, False, True], [True] * 4]


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=60), st.integers(1, 30))
def test_logs_are_the_newest_slots_in_order(
    contract: Contract, steps: list[tuple[bool, int]], capacity: int
) -> None:
    episode, slot, slots = 0, 0, []
    for new_episode, gap in steps:
        episode, slot = episode + new_episode, slot + gap
        slots.append((episode, slot))
    experience = fill(Experience(contract, ["b", "c"], 1, capacity), slots)
    found = [(log.episode, int(one)) for log in experience.logs(0) for one in log.slots]
    kept = slots[-capacity:]
    newest = sorted({one for one, _ in kept})[-LARGEST_LOGS:]
    assert found == [pair for pair in kept if pair[0] in newest]
    assert len(experience) == len(kept)


def test_no_more_episodes_are_logged_than_are_sent(contract: Contract) -> None:
    slots = [(slot // 2, slot) for slot in range(2 * LARGEST_LOGS + 8)]
    logs = fill(Experience(contract, ["b", "c"], 1, 100), slots).logs(0)
    assert [log.episode for log in logs] == list(range(4, LARGEST_LOGS + 4))


def test_nothing_is_left_once_it_is_cleared(contract: Contract) -> None:
    experience = fill(Experience(contract, ["b", "c"], 1, 3), [(0, slot) for slot in range(5)])
    experience.clear()
    assert len(experience) == 0
    assert experience.logs(0) == []
    assert fill(experience, [(7, 1)]).logs(0)[0].slots.tolist() == [1]


def test_what_was_logged_does_not_change_afterwards(contract: Contract) -> None:
    experience = fill(Experience(contract, ["b", "c"], 1, 2), [(0, 1), (0, 2)])
    (log,) = experience.logs(0)
    fill(experience, [(0, 3), (0, 4)])
    assert log.slots.tolist() == [1, 2]


def test_wrong_shape_is_an_error(contract: Contract) -> None:
    experience = Experience(contract, ["b", "c"], 1, 10)
    observation, coupling = np.zeros(6, np.float32), np.zeros((2, 1), np.float32)
    with pytest.raises(ValueError, match=r"observation of shape \(3,\)"):
        experience.add(0, 0, observation[:3], coupling, None)
    with pytest.raises(ValueError, match=r"coupling of shape \(1, 1\)"):
        experience.add(0, 0, observation, coupling[:1], None)
    with pytest.raises(ValueError, match=r"mask of shape \(4,\)"):
        experience.add(0, 0, observation, coupling, np.ones(4, dtype=np.bool_))
    assert len(experience) == 0
