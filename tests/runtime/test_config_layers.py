"""Layers: later ones win, each value knows its origin, and mistakes of all of them are told together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.config_keys import origin_of
from networld_runtime.config_layers import value_of, variable_of
from networld_runtime.config_reader import known_keys, load_config
from networld_runtime.errors import ConfigError

LAYERS = ("file", "drop-in 1", "drop-in 2", "environment", "command line", "command line again")


def drop_in(file: Path, name: str, text: str) -> Path:
    folder = file.with_name(f"{file.name}.d")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def problems_of(
    file: Path, changes: tuple[str, ...] = (), environment: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(file, changes, environment or {})
    assert caught.value.subject == str(file)
    return caught.value.problems


@settings(
    deadline=None, max_examples=64, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(st.sampled_from(range(len(LAYERS)))))
def test_the_last_layer_that_gives_a_value_wins(config_file: Path, given_by: set[int]) -> None:
    base = config_file.read_text().partition("# ports")[0]
    text = {number: f"[broker]\nport = {1000 + number}\n" for number in given_by}
    config_file.write_text(f"{base}# ports\n{text.get(0, '')}")
    first = drop_in(config_file, "10-port.toml", text.get(1, ""))
    second = drop_in(config_file, "20-port.toml", text.get(2, ""))
    environment = {"NETWORLD_BROKER__PORT": "1003"} if 3 in given_by else {}
    changes = [f"broker.port={1000 + number}" for number in (4, 5) if number in given_by]
    config = load_config(config_file, changes, environment)
    last = max(given_by, default=None)
    assert config.broker.port == (1883 if last is None else 1000 + last)
    assert str(origin_of(config, "broker.port")) == {
        None: "built-in",
        0: f"file {config_file}",
        1: f"drop-in {first}",
        2: f"drop-in {second}",
        3: "environment NETWORLD_BROKER__PORT",
    }.get(last, "command line --set broker.port")
    assert config.changes == tuple(changes)


def test_relative_paths_start_where_they_were_given(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = config_file.parent / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    added = drop_in(config_file, "state.toml", '[state]\ndirectory = "s"\n')
    config = load_config(config_file, (), {})
    assert config.state.directory == added.parent / "s"
    assert config.bundle.path == config_file.parent / "bundle"
    config = load_config(config_file, ["state.directory=s"], {"NETWORLD_BUNDLE__PATH": "b"})
    assert (config.state.directory, config.bundle.path) == (here / "s", here / "b")
    config = load_config(config_file, ["radio.kind=x", 'radio.options={trace="t"}'], {})
    assert config.radio.folders == {"trace": here}


def test_drop_ins_are_read_in_order_of_names_and_hidden_or_other_files_not(
    config_file: Path,
) -> None:
    for number, name in enumerate(("9.toml", "10.toml")):
        drop_in(config_file, name, f"[broker]\nport = {1000 + number}\n")
    for name in (".9.toml", "z.conf", "z.toml~"):
        drop_in(config_file, name, "[broker]\nhots = 1\n")
    assert load_config(config_file, (), {}).broker.port == 1000


def test_tables_are_merged_and_all_else_is_replaced(config_file: Path) -> None:
    drop_in(
        config_file,
        "1.toml",
        '[cell]\nneighbours = ["z"]\n[radio]\nkind = "x"\noptions.deep = { a = 1, b = 2 }',
    )
    config = load_config(
        config_file, ["radio.options.deep.b=3"], {"NETWORLD_RADIO__OPTIONS__MORE": "yes"}
    )
    assert config.cell.neighbours == ("z",)
    assert config.cell.name == "a"
    assert config.radio.options == {"deep": {"a": 1, "b": 3}, "more": "yes"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1884", 1884),
        ("0.5", 0.5),
        ("true", True),
        ('"a b"', "a b"),
        ('["b", "c"]', ["b", "c"]),
        ("10.0.0.1", "10.0.0.1"),
        ("cell-a", "cell-a"),
        ("/run/x", "/run/x"),
        ("", ""),
        ("[1", "[1"),
        ("1\nother = 2", "1\nother = 2"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_values_are_toml_and_bare_words_are_strings(text: str, value: Any) -> None:
    assert value_of(text) == value


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_value(text: str) -> None:
    value_of(text)


def test_mistakes_of_all_layers_are_told_together_with_their_origin(config_file: Path) -> None:
    config_file.write_text(config_file.read_text() + "[timing]\nslot_s = 0\n")
    added = drop_in(config_file, "1.toml", "broker = 3\n[planner]\nstepps = 1\n")
    found = problems_of(
        config_file,
        ("planner.steps=many", "planner", "cel.name=x", "=1"),
        {
            "NETWORLD_BROKER__PORT": "x",
            "NETWORLD_BROKER_HOST": "y",
            "NETWORLD_PLANER__STEPS": "2",
            "OTHER_BROKER__PORT": "z",
        },
    )
    assert found == [
        f"broker = 3 (drop-in {added}): expected a table, [broker]",
        "NETWORLD_BROKER_HOST (environment): unknown variable; did you mean NETWORLD_BROKER__HOST?",
        "NETWORLD_PLANER__STEPS (environment): unknown variable; did you mean "
        "NETWORLD_PLANNER__STEPS?",
        "--set 'planner' (command line): expected table.key=value, such as broker.port=1884",
        "cel (command line --set cel.name): unknown table or key; did you mean cell?",
        "--set '' (command line): expected table.key=value, such as broker.port=1884",
        "broker.port = 'x' (environment NETWORLD_BROKER__PORT): expected an integer from 1 to 65535",
        "planner.steps = 'many' (command line --set planner.steps): expected an integer from 1 to "
        "100",
        "timing.slot_s = 0: expected a number from 0.0001 to 3600",
        f"planner.stepps (drop-in {added}): unknown key; did you mean steps?",
    ]


def test_files_that_cannot_be_read_are_told_together(config_file: Path) -> None:
    config_file.write_text("[cell")
    broken = drop_in(config_file, "1.toml", "= 3")
    (broken.parent / "2.toml").mkdir()
    found = problems_of(config_file, ("x",))
    assert (
        len(found) == 4
    )  # nothing of keys that are missing: they may stand where it cannot be read
    assert found[0].startswith("is not valid TOML")
    assert found[1].startswith(f"{broken}: is not valid TOML")
    assert found[2] == f"{broken.parent / '2.toml'}: cannot be read: Is a directory"
    assert found[3].startswith("--set 'x'")


def test_drop_in_folder_that_is_a_file(config_file: Path) -> None:
    folder = config_file.with_name(f"{config_file.name}.d")
    folder.write_text("")
    assert problems_of(config_file) == [f"{folder}: cannot be read: Not a directory"]


def test_value_inside_a_plain_key_is_told(config_file: Path) -> None:
    assert problems_of(config_file, ("broker.port.x=1",)) == [
        "broker.port = {'x': 1} (command line --set broker.port.x): expected an integer from 1 to "
        "65535"
    ]


def test_every_key_has_a_variable_that_sets_it(config_file: Path) -> None:
    found = problems_of(config_file, (), {variable_of(key.name): "{}" for key in known_keys()})
    for key in known_keys():
        if key.name not in ("radio.options", "mesh.weights"):  # they are tables themselves
            place = (
                f"{key.name} = {{}} (environment {variable_of(key.name)}): expected {key.expected}"
            )
            assert place in found


def test_options_without_a_radio_of_one_s_own_are_told(config_file: Path) -> None:
    assert problems_of(config_file, ("radio.options.trace=x",)) == [
        'radio.options (command line --set radio.options.trace): kind = "mqtt" has none; it takes its '
        "broker from [broker]"
    ]
