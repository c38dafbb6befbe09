r"""The states of a cell and what an order does in each of them.

| state \ order | active | light | deep |
|---|---|---|---|
| active | active | light | deep |
| light | active, late by the transition time | light | deep |
| deep | waking (active, if that takes less than a slot) | deep | deep |
| waking | active | light | deep |

A cell that wakes from deep sleep is dead for one slot if the transition takes that long; the order of
the next slot is obeyed again. Nothing leads from deep to light sleep but waking. The energy of a transition,
down and up, is charged when a cell goes down; from light to deep sleep only the difference is, so that
a sleep costs its transition once, that of the deepest state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.energy import EnergyTable

ORDERS = ("active", "light", "deep")
ACTIVE, LIGHT, DEEP, WAKING = range(4)

# A cell that has been in light sleep for so long goes deep: by then the power saved in deep sleep would
# have paid for the transition.
PATIENCE_SLOTS = 2


@dataclass(frozen=True)
class StateMachine:
    """Tables `[4, 3]` of state in the slot before and order.

    Attributes:
        state: State in the slot.
        awake_share: Share of the slot in which the cell is awake.
        sleep_power: Power for the rest of it.
        transition: Energy of transitions charged in the slot.
    """

    state: IntArray
    awake_share: FloatArray
    sleep_power: FloatArray
    transition: FloatArray


def state_machine(table: EnergyTable, slot_s: float) -> StateMachine:
    """Return what orders do with the transitions of an energy table and slots of this length."""
    to_light, to_deep = table.light_transition, table.deep_transition
    light_share = 1 - table.light_transition_s / slot_s
    deep_share = max(1 - table.deep_transition_s / slot_s, 0.0)
    woken = ACTIVE if deep_share > 0 else WAKING
    return StateMachine(
        state=np.array(
            [
                [ACTIVE, LIGHT, DEEP],
                [ACTIVE, LIGHT, DEEP],
                [woken, DEEP, DEEP],
                [ACTIVE, LIGHT, DEEP],
            ]
        ),
        awake_share=np.array([[1.0, 0, 0], [light_share, 0, 0], [deep_share, 0, 0], [1.0, 0, 0]]),
        sleep_power=np.array(
            [
                [table.micro, table.light, table.deep],
                [table.light, table.light, table.deep],
                [table.deep, table.deep, table.deep],
                [table.micro, table.light, table.deep],
            ]
        ),
        transition=np.array(
            [
                [0.0, to_light, to_deep],
                [0.0, 0.0, to_deep - to_light],
                [0.0, 0.0, 0.0],
                [0.0, to_light, to_deep],
            ]
        ),
    )
