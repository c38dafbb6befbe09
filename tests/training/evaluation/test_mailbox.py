"""What a judged cell has of its neighbours is what a base station has."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_runtime.mesh.message import BITS, MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import Neighbours
from networld_training.evaluation.conditions import MAXIMUM_AGE_SLOTS, Conditions
from networld_training.evaluation.mailbox import Mailbox
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.power.contract import POWER_CONTRACT
from networld_training.tasks.power.network import PowerNetwork
from networld_training.tasks.power.task import PowerTask

SLOTS = 8


class _Scripted(Conditions):
    """Messages arrive as written down, `[slots, E, K, n]`."""

    script: list[FloatArray]

    def heard(self, _: Task) -> FloatArray:
        return self.script.pop(0)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(0.1, 0.9),
    st.sampled_from([1.0, 0.6, 0.01]),
    st.sampled_from(BITS),
)
def test_mean_field_is_the_base_stations(
    seed: int, loss: float, age_weight: float, bits: int
) -> None:
    random = np.random.default_rng(seed)
    task = PowerTask(PowerNetwork(), [0, 1])
    neighbours = task.neighbours
    heard = random.random((SLOTS, *task.shape, neighbours.shape[1])) >= loss
    conditions = _Scripted(loss=0.5, bits=bits, age_weight=age_weight)
    object.__setattr__(conditions, "script", list(heard.astype(np.float64)))
    mailbox = Mailbox(conditions)
    names = [f"cell-{cell}" for cell in neighbours[0]]
    station = Neighbours(
        POWER_CONTRACT, names, MAXIMUM_AGE_SLOTS, clock=lambda: 0.0, age_weight=age_weight
    )
    station.begin_episode(0)
    for slot in range(SLOTS):
        told = random.uniform(-1, 1, (*task.shape, POWER_CONTRACT.message_size)).astype(np.float32)
        field = mailbox.receive(torch.from_numpy(told), task)
        for place, cell in enumerate(neighbours[0]):
            if heard[slot, 0, 0, place]:
                message = MeanFieldMessage(1, slot, told[0, cell], 0.0)
                station.receive(names[place], encode(message, POWER_CONTRACT, bits))
        np.testing.assert_allclose(field[0, 0], station.mean_field(slot + 1), atol=1e-6)


def test_a_message_stands_in_for_lost_ones_until_it_is_too_old() -> None:
    task = PowerTask(PowerNetwork(), [0])
    shape = (*task.shape, task.neighbours.shape[1])
    conditions = _Scripted(loss=0.5)
    script = [np.ones(shape)] + [np.zeros(shape) for _ in range(MAXIMUM_AGE_SLOTS)]
    object.__setattr__(conditions, "script", script)
    mailbox = Mailbox(conditions)
    told = torch.ones((*task.shape, POWER_CONTRACT.message_size))
    shares = [mailbox.receive(told, task)[0, 0, -1].item() for _ in range(MAXIMUM_AGE_SLOTS + 1)]
    assert shares == [1.0] * MAXIMUM_AGE_SLOTS + [0.0]
    mailbox.reset()
    object.__setattr__(conditions, "script", [np.zeros(shape)])
    assert mailbox.receive(told, task).abs().sum() == 0
