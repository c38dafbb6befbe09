"""Power that a board takes, where it tells: a counter of Intel and AMD processors, sensors of Jetsons."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

SYSTEM = Path("/sys")
COUNTER = "class/powercap/intel-rapl:0/energy_uj"
COUNTER_RANGE = "class/powercap/intel-rapl:0/max_energy_range_uj"
SENSORS = "bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
BOARD_RAILS = ("VDD_IN", "POM_5V_IN")
"""What Jetson boards call the rail that feeds all others."""
SAMPLE_S = 0.02


def mean_power_w(work: Callable[[], None], runs: int, system: Path = SYSTEM) -> float | None:
    """Return the mean power of this computer during so many runs, in watts; None where it does not tell.

    The counter of a processor is read before and after; a board's sensor now and then between runs.

    Args:
        work: What is run.
        runs: How often.
        system: Where the kernel shows its devices.
    """
    if _read(system / COUNTER) is not None:
        return _by_counter(work, runs, system)
    rail = _rail(system)
    return None if rail is None else _by_sensor(work, runs, *rail)


def _by_counter(work: Callable[[], None], runs: int, system: Path) -> float | None:
    before, begun_s = _read(system / COUNTER), time.monotonic()
    for _ in range(runs):
        work()
    after, taken_s = _read(system / COUNTER), time.monotonic() - begun_s
    if before is None or after is None:
        return None
    if after < before:  # it starts at zero again
        after += _read(system / COUNTER_RANGE) or 0.0
    return 1e-6 * (after - before) / taken_s


def _by_sensor(work: Callable[[], None], runs: int, volts: Path, amperes: Path) -> float | None:
    samples, sampled_s = [], 0.0
    for _ in range(runs):
        work()
        if time.monotonic() - sampled_s >= SAMPLE_S:
            millivolts, milliamperes = _read(volts), _read(amperes)
            if millivolts is not None and milliamperes is not None:
                samples.append(1e-6 * millivolts * milliamperes)
            sampled_s = time.monotonic()
    return sum(samples) / len(samples) if samples else None


def _rail(system: Path) -> tuple[Path, Path] | None:
    """Return the files with volts and amperes of the board's supply."""
    for label in sorted(system.glob(f"{SENSORS}/in*_label")):
        try:
            name = label.read_text().strip()
        except OSError:
            continue
        if name in BOARD_RAILS:
            channel = label.name.removeprefix("in").removesuffix("_label")
            return label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input")
    return None


def _read(path: Path) -> float | None:
    """Return the number in a file; None where there is none or this user may not see it."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
