"""Power of a base station after 3GPP TR 38.864 (V18.1.0), relative to its deepest sleep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from networld_training.radio.arrays import FloatArray

# Share of the dynamic power that does not scale with what is transmitted (A in TR 38.864).
FIXED_SHARE = 0.4


@dataclass(frozen=True)
class EnergyTable:
    """One category and set of TR 38.864, tables 5.1-1, 5.1-3 and 5.1-4; powers in relative units.

    A transition is the way down and up again together. Its energy comes on top of the power of the
    states, in relative power times seconds.

    Attributes:
        deep: Power in deep sleep.
        light: Power in light sleep.
        micro: Power in micro sleep: awake, nothing to transmit. It takes no time to enter or leave.
        downlink: Power while transmitting in the reference configuration.
        uplink: Power while receiving.
        reference_power_dbm: Transmit power of the reference configuration.
        light_transition_s: Time to and from light sleep.
        light_transition: Energy of it.
        deep_transition_s: Time to and from deep sleep.
        deep_transition: Energy of it.
    """

    deep: float
    light: float
    micro: float
    downlink: float
    uplink: float
    reference_power_dbm: float
    light_transition_s: float
    light_transition: float
    deep_transition_s: float
    deep_transition: float

    def transmitting(
        self, transmit_power_dbm: float, antenna_share: float = 1.0, efficiency: float = 1.0
    ) -> float:
        """Return the power while transmitting, P3 + s_a (P4 - P3) [A + s_f s_p / eta (1 - A)].

        Args:
            transmit_power_dbm: Total transmit power; over that of the reference configuration it is s_f s_p,
                occupied bandwidth times power density.
            antenna_share: Share of the transceiver chains that are on, s_a.
            efficiency: Efficiency of the amplifiers relative to full power, eta.
        """
        share = 10 ** ((transmit_power_dbm - self.reference_power_dbm) / 10)
        dynamic = FIXED_SHARE + share / efficiency * (1 - FIXED_SHARE)
        return self.micro + antenna_share * (self.downlink - self.micro) * dynamic


# Category 1: sleeps and wakes in milliseconds. Category 2: in seconds, but sleeps far deeper.
# Set 1: FR1 TDD, 100 MHz, 64 transceivers, 55 dBm. Set 2: FR1 FDD, 20 MHz, 32 transceivers, 49 dBm.
_CATEGORY_1 = (0.006, 0.090, 0.050, 1.0)
_CATEGORY_2 = (0.640, 1.088, 10.0, 17.0)
ENERGY_TABLES = {
    "category-1-set-1": EnergyTable(1, 25, 55, 280, 110, 55, *_CATEGORY_1),
    "category-1-set-2": EnergyTable(1, 25, 50, 200, 90, 49, *_CATEGORY_1),
    "category-2-set-1": EnergyTable(1, 2.1, 5.5, 32, 6.5, 55, *_CATEGORY_2),
    "category-2-set-2": EnergyTable(1, 2.1, 5.0, 26, 5.8, 49, *_CATEGORY_2),
}


@dataclass(frozen=True)
class SlotEnergy:
    """Energy of cells in a slot, relative power times seconds, by what it was spent on; any shape.

    Attributes:
        asleep: In light or deep sleep, and on the way out of it.
        micro: Awake with nothing to transmit.
        transmission: Transmitting.
        transition: For falling asleep and waking up, on top of the others.
    """

    asleep: FloatArray
    micro: FloatArray
    transmission: FloatArray
    transition: FloatArray

    @property
    def total(self) -> FloatArray:
        """The sum of the parts."""
        return np.asarray(self.asleep + self.micro + self.transmission + self.transition)


def slot_energy(
    table: EnergyTable,
    transmit_power_dbm: float,
    slot_s: float,
    awake_share: FloatArray,
    load: FloatArray,
    sleep_power: FloatArray,
    transition: FloatArray,
) -> SlotEnergy:
    """Return what cells use in a slot.

    A cell transmits at full power over the whole bandwidth for the share `load` of the slot and is in
    micro sleep for the rest of the time that it is awake: its mean power is linear in the load.

    Args:
        table: Powers of the states.
        transmit_power_dbm: Transmit power of a cell.
        slot_s: Length of the slot.
        awake_share: Share of the slot in which a cell is awake, any shape.
        load: Share of the slot in which it transmits, at most `awake_share`.
        sleep_power: Power for the rest of the slot.
        transition: Energy of the transitions charged in this slot.
    """
    return SlotEnergy(
        asleep=slot_s * (1 - awake_share) * sleep_power,
        micro=slot_s * (awake_share - load) * table.micro,
        transmission=slot_s * load * table.transmitting(transmit_power_dbm),
        transition=transition,
    )
