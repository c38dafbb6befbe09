"""Power of a board, from a copy of what its kernel shows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from networld_runtime.bench.energy import COUNTER, COUNTER_RANGE, mean_power_w


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


def test_a_processor_that_counts(tmp_path: Path) -> None:
    write(tmp_path / COUNTER, 5_000_000)

    def work() -> None:
        time.sleep(0.02)
        write(tmp_path / COUNTER, int(float((tmp_path / COUNTER).read_text())) + 100_000)

    watts = mean_power_w(work, 5, tmp_path)  # half a joule in a tenth of a second, or a bit longer
    assert watts is not None
    assert 1 < watts <= 5


def test_a_counter_that_begins_again(tmp_path: Path) -> None:
    write(tmp_path / COUNTER, 900_000)
    write(tmp_path / COUNTER_RANGE, 1_000_000)

    def work() -> None:
        time.sleep(0.05)
        write(tmp_path / COUNTER, 100_000)

    watts = mean_power_w(work, 1, tmp_path)
    assert watts is not None
    assert 1 < watts <= 4


def test_a_board_with_a_sensor(tmp_path: Path) -> None:
    folder = tmp_path / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    write(folder / "in1_label", "VDD_CPU_GPU_CV")
    write(folder / "in2_label", "VDD_IN")
    write(folder / "in2_input", 5000)
    write(folder / "curr2_input", 1200)
    assert mean_power_w(lambda: None, 3, tmp_path) == pytest.approx(6.0)


def test_a_computer_that_does_not_tell(tmp_path: Path) -> None:
    asked: list[int] = []
    assert mean_power_w(lambda: asked.append(0), 3, tmp_path) is None
    assert not asked


def test_a_counter_that_this_user_may_not_see(tmp_path: Path) -> None:
    (tmp_path / COUNTER).mkdir(parents=True)  # cannot be read, whoever runs this
    assert mean_power_w(lambda: None, 3, tmp_path) is None
