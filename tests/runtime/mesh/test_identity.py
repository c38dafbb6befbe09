"""Keys of cells: made once, read by their owner alone, and every mistake about them told."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from networld_runtime import cli
from networld_runtime.config_reader import load_config
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.authentication import NoSeal, make_seal
from networld_runtime.mesh.identity import read_cells, read_identity, read_own_key
from networld_runtime.mesh.identity_seal import IdentitySeal
from networld_runtime.store.signature import public_key, write_keys

NAMES = ("a", "b", "c")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    for name in NAMES:
        write_keys(folder, name)
    return folder


def problems(folder: Path, *wanted: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_cells(folder, wanted)
    assert caught.value.subject == str(folder)
    return caught.value.problems


def test_make_writes_both_halves_and_prints_the_public_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = ["identity", "make", "--output", str(tmp_path / "keys"), "--name", "cell-0"]
    assert cli.main(make) == 0
    printed = capsys.readouterr().out
    private, public = (tmp_path / "keys" / f"cell-0.{end}" for end in ("key", "pub"))
    assert printed == public.read_text()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert read_cells(tmp_path / "keys") == {"cell-0": public_key(read_own_key(private))}
    assert cli.main(["identity", "show", str(private)]) == 0
    assert capsys.readouterr().out == printed
    before = private.read_bytes()
    assert cli.main(make) == 3
    assert "already" in capsys.readouterr().err
    assert private.read_bytes() == before


@pytest.mark.parametrize("name", ["", "Cell", "../cell", "a" * 33])
def test_a_key_is_made_for_a_name_of_a_cell_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["identity", "make", "--output", str(tmp_path / "keys"), "--name", name]) == 3
    assert "1 to 32 of a-z" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [[], ["make"], ["show"]])
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["identity", *command, "--help"])
    assert "example:\n  networld-agent identity" in capsys.readouterr().out


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_may_read_is_refused(keys: Path, mode: int) -> None:
    (keys / "a.key").chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}: expected a private key that its owner"):
        read_own_key(keys / "a.key")


def test_systemd_guards_its_credentials_itself(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (keys / "a.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys))
    assert len(read_own_key(keys / "a.key")) == 32
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(keys / "elsewhere"))
    with pytest.raises(ConfigError):
        read_own_key(keys / "a.key")


def test_the_value_of_a_private_key_is_never_shown(keys: Path) -> None:
    identity = read_identity("a", keys / "a.key", keys, ["b", "c"])
    text = (keys / "a.key").read_text().split()[0]
    assert text not in repr(identity)
    assert repr(identity.private_key) not in repr(identity)
    (keys / "a.key").write_text(f"x{text}\n")
    with pytest.raises(ConfigError) as caught:
        read_own_key(keys / "a.key")
    assert text not in str(caught.value)


def test_all_that_is_wrong_with_a_folder_is_told_at_once(keys: Path) -> None:
    (keys / "b.pub").write_text("no key\n")
    (keys / "B b.pub").write_text((keys / "c.pub").read_text())
    (keys / "d.pub").write_text((keys / "c.pub").read_text())
    (keys / "e.pub").write_text(base64.b64encode(bytes(32)).decode())  # a point of small order
    assert [problem.split(",")[0].split(";")[0] for problem in problems(keys, "a", "z")] == [
        "B b.pub: no name of a cell",
        "b.pub: no public key",
        "d.pub: same key as c.pub",
        "e.pub: no Ed25519 public key",
        "z.pub: missing",
    ]
    assert "cannot be read" in problems(keys / "nowhere")[0]


def test_own_public_key_must_be_the_own_and_nobody_elses(keys: Path) -> None:
    identity = read_identity("a", keys / "a.key", keys, NAMES)
    assert identity.cells.keys() == {"b", "c"}
    with pytest.raises(ConfigError, match=r"a\.pub: is not the public half of"):
        read_identity("a", keys / "b.key", keys, NAMES)
    (keys / "a.pub").rename(keys / "d.pub")
    with pytest.raises(ConfigError, match="d: has the key of a itself"):
        read_identity("a", keys / "a.key", keys, ["b"])


def test_configuration_makes_the_seal(config_file: Path, keys: Path) -> None:
    plain = config_file.read_text()
    assert isinstance(make_seal(load_config(config_file)), NoSeal)
    config_file.write_text(f'{plain}\n[authentication]\nkey = "keys/a.key"\ncells = "keys"\n')
    seal = make_seal(load_config(config_file))
    assert isinstance(seal, IdentitySeal)
    assert seal.keys.keys() == {"b", "c"}
    (keys / "c.pub").unlink()
    with pytest.raises(ConfigError, match=r"c\.pub: missing"):
        make_seal(load_config(config_file))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('key = "a.key"', "authentication.cells: missing"),
        ('cells = "keys"', "authentication.key: missing"),
        ('receivers = ["b"]', "authentication.receivers: needs key and cells"),
        ('receivers = ["b", "b"]', "authentication.receivers = ['b', 'b']: expected a list of at"),
        (f"receivers = {[f'n{n}' for n in range(17)]}", "a list of at most 16 different names"),
    ],
)
def test_half_an_authentication_is_none(config_file: Path, table: str, told: str) -> None:
    config_file.write_text(f"{config_file.read_text()}\n[authentication]\n{table}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(config_file)
    assert any(told in problem for problem in caught.value.problems)


@pytest.mark.usefixtures("keys")
def test_more_neighbours_than_tags_are_told_at_the_start(config_file: Path) -> None:
    names = [f"n{number}" for number in range(17)]
    text = config_file.read_text().replace('["b", "c"]', str(names).replace("'", '"'))
    config_file.write_text(f'{text}\n[authentication]\nkey = "keys/a.key"\ncells = "keys"\n')
    with pytest.raises(ConfigError, match="17 cells use the messages of this one, at most 16"):
        make_seal(load_config(config_file))
    config_file.write_text(f'{config_file.read_text()}receivers = ["b"]\n')
    with pytest.raises(ConfigError, match="17 problems"):  # their keys, which are not there
        make_seal(load_config(config_file))
