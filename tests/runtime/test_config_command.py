"""`check` of several files, `config show` and `config keys`, and the page that is made from the keys."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from networld_runtime import cli
from networld_runtime.config_keys import ABOUT, LIVE, differences, plain_values
from networld_runtime.config_reader import TABLES, known_keys, load_config

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "bundles" / "networld"

TABLES_OF_ANY_KEYS = {"radio.options", "mesh.weights"}  # shown key by key


def shipped(file: Path, name: str = "good.toml", more: str = "") -> Path:
    """Return a copy of a configuration that runs the shipped bundle."""
    text = re.sub(r'path = ".*"', f'path = "{SHIPPED}"', file.read_text(), count=1)
    good = file.with_name(name)
    good.write_text(text + more)
    return good


def test_check_prints_a_block_for_each_file_and_ends_with_the_highest_code(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = shipped(config_file)
    wrong = shipped(config_file, "wrong.toml", "\n[broker]\nport = 0\nhots = 1\n")
    assert cli.main(["check", str(good), "--config", str(good)]) == 0
    assert capsys.readouterr().out.count(f"OK: {good}") == 2
    assert cli.main(["check", str(config_file), str(wrong), str(good)]) == 4
    shown = capsys.readouterr()
    assert shown.out.startswith(f"OK: {good}")
    assert "manifest.json" in shown.err
    assert f"{wrong}: 2 problems\n  - broker.port = 0: expected" in shown.err
    assert cli.main(["check", str(wrong), str(good)]) == 3
    assert cli.main(["check", str(good), "--set", "broker.port=x"]) == 3
    assert "(command line --set broker.port)" in capsys.readouterr().err


def test_check_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["check"])
    assert caught.value.code == 2
    assert "name at least one configuration file" in capsys.readouterr().err


def test_show_tells_every_key_its_value_and_origin(
    config_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWORLD_PLANNER__STEPS", "4")
    arguments = ["config", "show", "--config", str(config_file), "--set", "broker.port=1884"]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'cell.site = "test"'
    assert "broker.port = 1884" in lines
    assert "planner.mode = (not given)" in lines
    assert cli.main([*arguments, "--origin"]) == 0
    told = dict(re.split(" +# ", line) for line in capsys.readouterr().out.splitlines())
    assert told['cell.site = "test"'] == f"file {config_file}"
    assert told["planner.steps = 4"] == "environment NETWORLD_PLANNER__STEPS"
    assert told["broker.port = 1884"] == "command line --set broker.port"
    assert told['broker.host = "127.0.0.1"'] == "built-in"
    assert cli.main([*arguments, "--origin", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["broker.port"] == {"value": 1884, "origin": "command line --set broker.port"}
    assert data.keys() == {key.name for key in known_keys()} - TABLES_OF_ANY_KEYS
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cell.neighbours"] == ["b", "c"]


def test_show_of_a_wrong_configuration_ends_with_3(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["config", "show", "--config", str(config_file), "--set", "cell.name=B"]) == 3
    assert "cell.name = 'B'" in capsys.readouterr().err


def test_secrets_are_never_shown(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config_file.parent / "password").write_text("swordfish")
    config_file.write_text(
        config_file.read_text()
        + '[broker]\nusername = "u"\npassword_file = "password"\n[radio]\nkind = "own"\n'
        + '[radio.options]\napi_token = "swordfish"\ntoken_file = "t"\ndeep = { Password = "swordfish" }'
    )
    for form in ([], ["--json"], ["--origin"]):
        assert cli.main(["config", "show", "--config", str(config_file), *form]) == 0
        text = capsys.readouterr().out
        assert "swordfish" not in text
        assert str(config_file.parent / "password") in text
        assert text.count("(hidden)") == 2
    assert cli.main(["config", "show", "--config", str(config_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["radio.options.token_file"] == "t"
    # nor in what is wrong with a key that does not exist
    assert cli.main(["check", str(config_file), "--set", "broker.password=swordfish"]) == 3
    assert "swordfish" not in capsys.readouterr().err


def test_every_key_is_described_and_every_description_is_of_a_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [key.name for key in known_keys()]
    assert sorted(ABOUT) == sorted(names)
    assert set(names) >= LIVE
    assert {name.partition(".")[0] for name in names} == set(TABLES)
    assert cli.main(["config", "keys"]) == 0
    table = capsys.readouterr().out
    (line,) = [line for line in table.splitlines() if "`broker.port`" in line]
    assert line == "| `broker.port` | an integer from 1 to 65535 | `1883` | no | its port |"
    assert (
        "| `cell.name` | 1 to 32 of a-z, 0-9 and -, first a letter or digit | required |" in table
    )


def test_every_attribute_of_the_configuration_is_a_key(config_file: Path) -> None:
    config = load_config(config_file, (), {})
    attributes = {
        f"{table}.{one.name}" for table in TABLES for one in fields(getattr(config, table))
    }
    assert attributes - {"radio.folders"} == {key.name for key in known_keys()}


def test_defaults_are_those_that_count(config_file: Path) -> None:
    values = plain_values(load_config(config_file, (), {}))
    for key in known_keys():
        given = {"cell.neighbours", "bundle.path"}
        if not key.required and key.name not in TABLES_OF_ANY_KEYS | given:
            assert values[key.name] == key.default


def test_differences_of_two_configurations(config_file: Path) -> None:
    before = load_config(config_file, ("radio.kind=x", "radio.options.a=1"), {})
    after = load_config(config_file, ("radio.kind=x", "radio.options.b=1", "broker.port=1"), {})
    assert differences(before, before) == []
    assert differences(before, after) == ["broker.port", "radio.options.a", "radio.options.b"]


def test_page_is_up_to_date() -> None:
    path = ROOT / "docs" / "update_configuration.py"
    specification = importlib.util.spec_from_file_location("update_configuration", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert module.updated_page() == page, "run python docs/update_configuration.py"
    assert "`broker.port`" in page
