"""Stars: the slots that cells have in common, and who the neighbours of each cell are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_logs import COUPLINGS, log_of

from networld_runtime.contract import Contract
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.star import Star, make_star

RING = ("a", "b", "c", "d", "e", "f", "g")
PROPERTY = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def others(name: str) -> list[str]:
    return [one for one in RING if one != name]


def star_of(contract: Contract, logs: dict[str, list[EpisodeLog]]) -> Star:
    return make_star(contract, COUPLINGS, "a", logs)


def test_whole_star_is_put_together_slot_by_slot(contract: Contract) -> None:
    logs = {}
    for index, name in enumerate(RING):
        log = log_of(contract, others(name), [10, 11, 12])
        log.observation[:] = 10 * index + np.array([[0], [1], [2]])
        logs[name] = [log]
    star = star_of(contract, logs)
    assert len(star) == 2
    assert star.known.tolist() == [1] * 7
    # -50 to 50 dB are -1 to 1
    np.testing.assert_allclose(star.observation[:, 3, 0], [31 / 50, 32 / 50], rtol=1e-6)
    np.testing.assert_allclose(star.before[:, 3, 0], [30 / 50, 31 / 50], rtol=1e-6)
    np.testing.assert_array_equal(star.coupling[1, 3], logs["d"][0].coupling[2])
    assert star.mask.all()
    for index, name in enumerate(RING):
        expected = np.eye(7)[[RING.index(one) for one in others(name)]]
        np.testing.assert_array_equal(star.around[index], expected)


def test_masks_stand_at_the_masked_choice(hybrid: Contract) -> None:
    star = star_of(hybrid, {"a": [log_of(hybrid, ["b"], [0, 1, 2])]})
    expected = np.ones(hybrid.action_size)
    np.testing.assert_array_equal(star.mask[1, 0], expected)
    expected[0] = 0
    np.testing.assert_array_equal(star.mask[0, 0], expected)
    np.testing.assert_array_equal(star.mask[:, 1:], 1)


def test_unknown_neighbours_are_the_mean_of_the_known_ones(contract: Contract) -> None:
    slots = range(5)
    logs = {
        "a": [log_of(contract, ["b", "c", "d"], slots)],
        "b": [log_of(contract, ["a", "x"], slots)],
        "d": [log_of(contract, ["y", "z"], slots)],
    }
    star = star_of(contract, logs)
    cell = dict(zip(("a", "b", "c", "d"), np.eye(7), strict=False))
    mean = (cell["b"] + cell["d"]) / 2
    np.testing.assert_array_equal(star.around[0], [cell["b"], mean, cell["d"], mean, mean, mean])
    np.testing.assert_array_equal(star.around[1], [cell["a"]] * 6)
    np.testing.assert_array_equal(star.around[3], [cell["d"]] * 6)  # knows none: like itself
    assert star.known.tolist() == [1, 1, 0, 1, 0, 0, 0]
    assert not star.coupling[:, 0, 3:].any()
    assert not star.observation[:, 2].any()
    np.testing.assert_allclose(star.around.sum(axis=2), 1)


def test_own_log_alone_is_a_star_too(contract: Contract) -> None:
    star = star_of(contract, {"a": [log_of(contract, ["b", "c"], [4, 5, 7, 8, 9])], "b": []})
    assert len(star) == 3  # 5, 8 and 9
    assert star.known.tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert (star.around[0, :, 0] == 1).all()


def test_only_slots_that_all_known_cells_have_count(contract: Contract) -> None:
    logs = {
        "a": [log_of(contract, ["b", "c"], range(10)), log_of(contract, ["b", "c"], [10, 11], 1)],
        "b": [log_of(contract, ["a"], [*range(5), *range(7, 10)])],
        "c": [log_of(contract, ["a"], range(3))],  # 2 of 10 slots: too few to be known
    }
    star = star_of(contract, logs)
    assert star.known.tolist()[:3] == [1, 1, 0]
    # 1 to 4, and 8 and 9: the slot before 7 is missing
    np.testing.assert_array_equal(star.coupling[:, 0, 0, 0], 4 * np.array([1, 2, 3, 4, 8, 9]))


def test_slots_of_another_episode_are_others(contract: Contract) -> None:
    logs = {
        "a": [log_of(contract, ["b"], range(5), episode=1)],
        "b": [log_of(contract, ["a"], range(5), episode=2)],
    }
    assert star_of(contract, logs).known.tolist()[:2] == [1, 0]


def test_largest_numbers_are_no_trouble(contract: Contract) -> None:
    top = 2**32 - 1
    logs = {
        name: [log_of(contract, [other], [top - 1, top], episode=top)]
        for name, other in (("a", "b"), ("b", "a"))
    }
    assert len(star_of(contract, logs)) == 1


def test_logs_of_an_earlier_neighbourhood_are_left_out(contract: Contract) -> None:
    logs = {
        "a": [
            log_of(contract, ["b", "c"], range(5), episode=0),
            log_of(contract, ["b"], range(5, 9), episode=1),
        ]
    }
    assert len(star_of(contract, logs)) == 3


def test_cell_itself_must_have_logs_and_not_too_many_neighbours(contract: Contract) -> None:
    with pytest.raises(ValueError, match="no logs of a"):
        star_of(contract, {"b": [log_of(contract, ["a"], range(5))], "a": []})
    with pytest.raises(ValueError, match="7 neighbours"):
        star_of(contract, {"a": [log_of(contract, list("bcdefgh"), range(5))]})


@PROPERTY
@given(
    st.dictionaries(st.sampled_from(RING[1:]), st.sets(st.integers(0, 15), min_size=1), max_size=6),
    st.sets(st.integers(0, 15), min_size=2),
)
def test_stars_are_whole_whatever_is_missing(
    contract: Contract, logged: dict[str, set[int]], own: set[int]
) -> None:
    slots = {"a": own, **logged}
    logs = {name: [log_of(contract, others(name), sorted(one))] for name, one in slots.items()}
    star = star_of(contract, logs)

    def usable(name: str) -> set[int]:
        return {slot for slot in slots[name] if slot - 1 in slots[name]}

    known = ["a"]
    known += [
        name
        for name in RING[1:]
        if name in logged and 2 * len(usable("a") & usable(name)) >= max(1, len(usable("a")))
    ]
    assert star.known.tolist() == [float(name in known) for name in RING]
    assert len(star) == len(set.intersection(*(usable(name) for name in known)))
    np.testing.assert_allclose(star.around.sum(axis=2), 1)
    # nobody looks at a cell without logs but itself
    unknown = [index for index, name in enumerate(RING) if name not in known]
    seen = star.around[[RING.index(name) for name in known]]
    assert not seen[:, :, unknown].any()


def test_some_slots_keep_who_is_who(contract: Contract) -> None:
    star = star_of(contract, {"a": [log_of(contract, ["b"], range(6))]})
    some = star.some(np.array([3, 0]))
    np.testing.assert_array_equal(some.coupling, star.coupling[[3, 0]])
    assert some.around is star.around
    assert len(replace(some)) == 2
