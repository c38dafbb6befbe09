"""Native actions, bins and logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.contract import ActionBins
from networld_training.baselines.actions import ActionCode
from networld_training.tasks.power.contract import POWER_SPEC
from networld_training.tasks.registry import TASKS
from networld_training.tasks.sched.contract import SCHED_SPEC
from networld_training.tasks.sleep.contract import SLEEP_SPEC


@pytest.mark.parametrize(
    ("power_db", "index"),
    [(-40, 0), (-35, 0), (-30.01, 0), (-30, 1), (-29.6, 1), (-29.4, 2), (-0.4, 31), (0, 31)],
)
def test_a_power_is_its_nearest_bin_and_off_is_one_of_its_own(power_db: float, index: int) -> None:
    assert ActionCode(POWER_SPEC).bins(np.array([power_db])).tolist() == [index]


def test_components_stand_side_by_side() -> None:
    code = ActionCode(SLEEP_SPEC)
    assert code.sizes == (3, 13)
    assert code.bins(np.array([[2.0, -6.0], [0.0, 5.6]])).tolist() == [[2, 0], [0, 12]]
    assert code.one_hot(torch.tensor([2, 0])).nonzero()[:, 0].tolist() == [2, 3]


@pytest.mark.parametrize("task", TASKS)
@given(draw=st.randoms(use_true_random=False))
def test_bins_survive_the_way_to_native_units_and_back(task: str, draw: object) -> None:
    spec = TASKS[task].spec
    code = ActionCode(spec)
    bins = torch.tensor([[draw.randrange(size) for size in code.sizes] for _ in range(5)])  # type: ignore[attr-defined]
    native = code.native(bins)
    assert torch.equal(code.bins(native), bins)
    for index, action in enumerate(spec.actions):
        if isinstance(action, ActionBins):
            assert (native[:, index] >= (action.low if action.off is None else action.off)).all()
            assert (native[:, index] <= action.high).all()


def test_what_the_mask_forbids_is_neither_chosen_nor_likely() -> None:
    code = ActionCode(SCHED_SPEC)
    logits = torch.zeros(2, 9)
    logits[:, 3] = 5.0
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 3] = False
    logits[:, 5] = 1.0
    assert code.best(logits, mask).tolist() == [[3], [5]]
    assert code.best(logits, None).tolist() == [[3], [3]]
    likelihood = code.log_likelihood(logits, torch.tensor([[5], [5]]), mask)
    among = np.log(np.exp([1.0])[0] / (7 + np.exp(1.0)))
    assert float(likelihood[1]) == pytest.approx(among)
    assert float(likelihood[0]) < float(likelihood[1])


def test_the_likelihood_of_an_action_is_the_product_of_its_components() -> None:
    code = ActionCode(SLEEP_SPEC)
    found = code.log_likelihood(torch.zeros(1, 16), torch.tensor([[1, 4]]), None)
    assert float(found) == pytest.approx(-np.log(3 * 13))
