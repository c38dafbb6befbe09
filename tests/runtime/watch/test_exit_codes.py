"""The catalogue of exit codes: every error has its row, every page tells of it."""

from __future__ import annotations

import pytest

from networld_runtime import cli
from networld_runtime.errors import NetWorldError
from networld_runtime.exit_codes import ExitCode
from networld_runtime.watch import query


def _kinds(base: type[NetWorldError]) -> list[type[NetWorldError]]:
    below = [kind for one in base.__subclasses__() for kind in _kinds(one)]
    return [base, *below]


def test_every_error_of_the_base_station_ends_with_a_code_of_the_catalogue() -> None:
    assert query.NoAnswerError in _kinds(NetWorldError)
    own = [kind for kind in _kinds(NetWorldError) if kind.__module__.startswith("networld_runtime")]
    assert len(own) >= 7
    assert all(isinstance(kind.exit_code, ExitCode) for kind in own)
    assert all(kind.exit_code is not ExitCode.SUCCESS for kind in own)


def test_numbers_stay_what_scripts_and_units_know() -> None:
    numbers = {code.name: int(code) for code in ExitCode}
    assert numbers == {
        "SUCCESS": 0,
        "FAILURE": 1,
        "USAGE": 2,
        "CONFIGURATION": 3,
        "BUNDLE": 4,
        "BROKER": 5,
        "DATA": 6,
        "MESSAGE": 7,
        "TASK": 8,
        "NOT_READY": 9,
        "NO_ANSWER": 10,
        "INTERRUPTED": 130,
    }


def test_table_tells_number_name_meaning_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["exit-codes"]) == 0
    text = capsys.readouterr().out
    for code in ExitCode:
        assert f"{int(code):>3}  {code.name.lower()}\n     {code.meaning}\n" in text
        assert f"to do: {code.remedy}" in text


def test_help_lists_every_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{int(code)} {code.name.lower().replace('_', ' ')}" in text for code in ExitCode)
