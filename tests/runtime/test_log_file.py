"""The file of logs: the same back, and damage is a clear error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from made_logs import COUPLINGS, log_of

from networld_runtime.contract import Contract
from networld_runtime.errors import DataError
from networld_runtime.log_file import read_logs, write_logs


@pytest.fixture
def file(hybrid: Contract, tmp_path: Path) -> Path:
    file = tmp_path / "logs.msgpack"
    logs = {
        "a": [log_of(hybrid, ["b", "c"], [1, 2]), log_of(hybrid, ["b", "c"], [3], episode=1)],
        "b": [log_of(hybrid, ["a"], [1, 2], value=3.0)],
        "c": [],
    }
    write_logs(file, logs, hybrid)
    return file


def test_logs_come_back(hybrid: Contract, file: Path) -> None:
    logs = read_logs(file, hybrid, COUPLINGS)
    assert {name: [log.episode for log in parts] for name, parts in logs.items()} == {
        "a": [0, 1],
        "b": [0],
        "c": [],
    }
    np.testing.assert_array_equal(logs["b"][0].observation, 3.0)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_damaged_files_are_data_errors(hybrid: Contract, file: Path) -> None:
    shapes: list[Any] = [5, {}, [5], [[]], [["a"]], [[b"a", 5]], [[b"A"]], [[b"\xff"]], [[b""]]]
    whole = file.read_bytes()
    for damaged in (
        b"",
        b"\xff" * 100,
        whole[:-5],
        whole[: len(whole) // 2],
        *map(msgpack.packb, shapes),
    ):
        file.write_bytes(damaged)
        with pytest.raises(DataError):
            read_logs(file, hybrid, COUPLINGS)
    with pytest.raises(DataError, match="cannot be read"):
        read_logs(file.with_name("none"), hybrid, COUPLINGS)


def test_every_cell_of_another_contract_is_named(
    hybrid: Contract, contract: Contract, file: Path
) -> None:
    with pytest.raises(DataError) as caught:
        read_logs(file, replace(hybrid, discount=0.1), COUPLINGS)
    assert [problem[:2] for problem in caught.value.problems] == ["a:", "b:"]
    with pytest.raises(DataError):
        read_logs(file, contract, COUPLINGS)


def test_folder_that_cannot_be_written_is_a_data_error(hybrid: Contract, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_logs(tmp_path / "none" / "logs", {}, hybrid)
