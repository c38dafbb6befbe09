"""Configuration: defaults, relative paths, every mistake at once, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.config_reader import load_config
from networld_runtime.errors import ConfigError

WRONG = """
[cell]
site = "Test Site"
name = "a"
neighbours = ["a", "b", "b"]
[bundel]
path = "bundle"
[broker]
hots = "x"
port = "1883"
keep_alive_s = 0
password_file = "none"
[planner]
mode = "fast"
steps = true
solver = "euler"
temperature = nan
[timing]
slot_s = -1
[adaptation]
enabled = "yes"
gather_s = -1
colour = 3
[state]
directory = ""
"""
PROBLEMS = [
    "bundel: unknown table or key; did you mean bundle?",
    "cell.site = 'Test Site': expected 1 to 32 of a-z, 0-9 and -, first a letter or digit",
    "cell.task: missing, expected a string that is not empty",
    "cell.neighbours = ['a', 'b', 'b']: expected a list of different names, each 1 to 32 of a-z, "
    "0-9 and -, first a letter or digit",
    "bundle.path: expected either path, the folder of a bundle, or store, that of a bundle store",
    "broker.port = '1883': expected an integer from 1 to 65535",
    "broker.keep_alive_s = 0: expected an integer from 1 to 3600",
    "broker.password_file: needs a username beside it",
    "broker.hots: unknown key; did you mean host?",
    'planner.mode = \'fast\': expected "policy" or "none" or "guidance" or "select" or '
    '"guidance-select"',
    "planner.steps = True: expected an integer from 1 to 100",
    "planner.temperature = nan: expected a number from 0 to 2",
    'planner.solver = \'euler\': expected "ddim" or "dpm_solver"',
    "timing.slot_s = -1: expected a number from 0.0001 to 3600",
    "adaptation.enabled = 'yes': expected true or false",
    "adaptation.gather_s = -1: expected a number from 0 to 3600",
    "state.directory = '': expected a string that is not empty",
]


def test_defaults_keep_the_bundle_s_settings(config_file: Path) -> None:
    config = load_config(config_file)
    assert config.cell.neighbours == ("b", "c")
    assert (config.broker.host, config.broker.port) == ("127.0.0.1", 1883)
    assert config.planner.changes() == {}
    assert config.adaptation.changes() == {}
    assert config.adaptation.gather_s == 5
    assert config.timing.slot_s is None


def test_paths_start_at_the_folder_of_the_file(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    relative = Path(os.path.relpath(config_file))
    config = load_config(relative)
    assert config.path == config_file
    assert config.bundle.path == config_file.parent / "bundle"
    assert config.state.directory == config_file.parent / "state"


def test_given_values_arrive(config_file: Path) -> None:
    password_file = config_file.parent / "password"
    password_file.write_text("swordfish\r\n")
    config_file.write_text(
        config_file.read_text()
        + """
        [broker]
        host = "broker.example"
        port = 8883
        username = "cell-a"
        password_file = "password"
        [planner]
        mode = "select"
        steps = 8
        guidance_scale = 1
        solver = "ddim"
        seed = 5
        [timing]
        slot_s = 0.25
        [adaptation]
        steps = 10
        capacity_slots = 100
        gather_s = 0
        """
    )
    config = load_config(config_file)
    assert config.planner.changes() == {
        "mode": "select",
        "steps": 8,
        "guidance_scale": 1.0,
        "solver": "ddim",
    }
    assert config.planner.seed == 5
    assert config.adaptation.changes() == {"steps": 10}
    assert config.adaptation.capacity_slots == 100
    assert config.adaptation.gather_s == 0
    assert config.timing.slot_s == 0.25
    assert config.broker.password() == "swordfish"
    assert "swordfish" not in repr(config)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "cell.toml"
    file.write_text(WRONG)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    problems = caught.value.problems
    assert [one for one in PROBLEMS if one not in problems] == []
    assert any(one.startswith("broker.password_file: no file at") for one in problems)
    assert any(one.startswith("adaptation.colour: unknown key; known here:") for one in problems)
    assert len(problems) == len(PROBLEMS) + 2
    assert str(file) in str(caught.value)


def test_cell_is_not_its_own_neighbour(config_file: Path) -> None:
    config_file.write_text(config_file.read_text().replace('["b", "c"]', '["a"]'))
    with pytest.raises(ConfigError, match="holds the cell itself"):
        load_config(config_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[cell", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
        (b"#" * 70_000, "larger than"),
        (b"cell = 3", r"cell = 3: expected a table, \[cell\]"),
        (b"[[cell]]", "expected a table"),
    ],
)
def test_file_that_is_no_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "cell.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(file)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(
        ["cell", "bundle", "broker", "planner", "timing", "adaptation", "state", "other"]
    ),
    st.sampled_from(["name", "neighbours", "path", "port", "steps", "slot_s", "enabled", "x-y"]),
    st.sampled_from(
        ['""', "1", "-1", "1e400", "nan", "true", "[]", "[[]]", "{}", "1979-05-27", '"\\u0000"']
    ),
)
def test_any_value_is_taken_or_a_config_error(
    tmp_path: Path, table: str, key: str, value: str
) -> None:
    file = tmp_path / "cell.toml"
    file.write_text(f"[{table}]\n{key} = {value}\n")
    with pytest.raises(ConfigError):
        load_config(file)
