"""How far an adapter moves actions: not at all, all the way, and by the messages that a cell heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_logs import log_of

from networld_runtime.divergence import LOOKED_AT, mean_divergence
from networld_runtime.star import make_star


def a_star(toy: Any, slots: int = 40) -> Any:
    logs = {
        "a": [log_of(toy.contract, ["b", "c"], range(slots))],
        "b": [log_of(toy.contract, ["a", "c"], range(slots))],
    }
    return make_star(toy.contract, toy.couplings, "a", logs)


def test_the_base_model_does_not_differ_from_itself(toy: Any) -> None:
    assert mean_divergence(toy, np.zeros(toy.adapter_size, dtype=np.float32), a_star(toy)) == 0


def test_the_further_an_adapter_moves_actions_the_more_it_differs(toy: Any) -> None:
    star = a_star(toy)
    adapter = np.linspace(-1, 1, toy.adapter_size).astype(np.float32)
    found = [mean_divergence(toy, np.float32(scale) * adapter, star) for scale in (0.1, 1, 30)]
    assert 0 < found[0] < found[1] < found[2] <= 1


def test_what_is_not_finite_is_not_hidden(toy: Any) -> None:
    adapter = np.full(toy.adapter_size, np.nan, dtype=np.float32)
    assert np.isnan(mean_divergence(toy, adapter, a_star(toy)))


def test_what_was_heard_goes_into_it(toy: Any) -> None:
    star = a_star(toy)
    mean_divergence(toy, np.ones(toy.adapter_size, dtype=np.float32), star)
    fields = [call["in_mean_field"] for call in toy.calls("policy")]
    (told,) = toy.session("encoder").run(in_observation=star.before[0, 1:2])
    size = toy.contract.message_size
    np.testing.assert_allclose(fields[0][0, :size], told[0, :size], rtol=1e-6)
    assert fields[0][0, size] == 1


def test_a_cell_that_heard_nobody_has_no_mean_field(toy: Any) -> None:
    alone = {"a": [log_of(toy.contract, ["b", "c"], range(9))]}
    star = make_star(toy.contract, toy.couplings, "a", alone)
    mean_divergence(toy, np.ones(toy.adapter_size, dtype=np.float32), star)
    assert not any(call["in_mean_field"].any() for call in toy.calls("policy"))


@pytest.mark.parametrize("slots", [2, 500])
def test_so_many_slots_are_looked_at(toy: Any, slots: int) -> None:
    mean_divergence(toy, np.ones(toy.adapter_size, dtype=np.float32), a_star(toy, slots))
    assert len(toy.calls("policy")) == 2 * min(slots - 1, LOOKED_AT)
