"""Energy: the entries of TR 38.864, its formula, and that the parts of a slot add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_training.radio.energy import ENERGY_TABLES, slot_energy

# As the tables have them: times in milliseconds, energies in relative power times milliseconds.
POWERS: dict[str, tuple[float, ...]] = {
    "category-1-set-1": (1, 25, 55, 280, 110),
    "category-1-set-2": (1, 25, 50, 200, 90),
    "category-2-set-1": (1, 2.1, 5.5, 32, 6.5),
    "category-2-set-2": (1, 2.1, 5.0, 26, 5.8),
}
TRANSITIONS = {"category-1": (6, 90, 50, 1_000), "category-2": (640, 1_088, 10_000, 17_000)}


@pytest.mark.parametrize("name", ENERGY_TABLES)
def test_entries(name: str) -> None:
    table = ENERGY_TABLES[name]
    powers = (table.deep, table.light, table.micro, table.downlink, table.uplink)
    assert powers == POWERS[name]
    transitions = (
        table.light_transition_s * 1000,
        table.light_transition * 1000,
        table.deep_transition_s * 1000,
        table.deep_transition * 1000,
    )
    assert transitions == pytest.approx(TRANSITIONS[name[:10]])
    assert table.reference_power_dbm == (55 if name.endswith("1") else 49)


def test_transmission_by_hand() -> None:
    table = ENERGY_TABLES["category-2-set-2"]
    assert table.transmitting(49) == pytest.approx(26)
    # Half the power: 5 + 21 (0.4 + 0.6 / 2); half the chains beside it: half of the 21.
    assert table.transmitting(49 - 10 * np.log10(2)) == pytest.approx(19.7)
    half = table.transmitting(49 - 10 * np.log10(2), antenna_share=0.5)
    assert half == pytest.approx(12.35)
    assert table.transmitting(49, efficiency=0.5) == pytest.approx(5 + 21 * 1.6)


def test_slots_by_hand() -> None:
    energy = slot_energy(
        ENERGY_TABLES["category-2-set-2"],
        transmit_power_dbm=49,
        slot_s=10,
        awake_share=np.array([1.0, 1.0, 0.0, 0.936]),
        load=np.array([0.0, 0.25, 0.0, 0.936]),
        sleep_power=np.array([5.0, 5.0, 2.1, 2.1]),
        transition=np.array([0.0, 0.0, 1.088, 0.0]),
    )
    assert energy.total == pytest.approx([50, 37.5 + 65, 21 + 1.088, 0.64 * 2.1 + 9.36 * 26])
    assert energy.transition.tolist() == [0, 0, 1.088, 0]
    assert energy.asleep == pytest.approx([0, 0, 21, 0.64 * 2.1])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 20))
def test_a_slot_lies_between_its_states_and_its_parts_add_up(
    awake: float, share: float, transition: float
) -> None:
    table = ENERGY_TABLES["category-1-set-2"]
    energy = slot_energy(
        table, 49, 2.0, *(np.array([x]) for x in (awake, share * awake, 25.0, transition))
    )
    parts = energy.asleep + energy.micro + energy.transmission + energy.transition
    assert energy.total == parts
    without = float(energy.total[0]) - transition
    assert 2 * 25 - 1e-9 <= without <= 2 * 200 + 1e-9
