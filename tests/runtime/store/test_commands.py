"""`networld-agent bundle` as a person types it: what it says, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from store_cell import StoreCell
from tiny_bundles import sign_manifest

from networld_runtime import cli
from networld_runtime.store import activation

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(cell: StoreCell, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command with the cell's configuration; return exit code, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([*map(str, words), "--config", str(cell.config_file)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("action", [[], ["install"], ["list"], ["activate"], ["rollback"]])
def test_help_has_an_example(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["bundle", *action, "--help"])
    assert caught.value.code == 0
    assert "example:\n  networld-agent bundle" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["install"], ["activate"], ["fly"], ["list", "--config"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["bundle", *words])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_from_nothing_to_a_bundle_in_use_and_back(cell: StoreCell, command: Command) -> None:
    assert command("bundle", "list") == (0, f"no bundles in {cell.store.path}\n", "")
    code, _, errors = command("check")
    assert code == 4
    assert "`networld-agent bundle install` and `activate` one first" in errors

    code, output, _ = command("bundle", "install", cell.bundle(1))
    assert code == 0
    (first,) = cell.store.installed()
    assert output.startswith(f"installed: {first[:12]} (tiny version 1, signed by ours.pub; a deci")
    assert command(
        "bundle", "install", cell.folder / f"bundle-1-{cell.contract.digest().hex()[:4]}"
    )[1].startswith("was installed already: ")
    code, output, _ = command("bundle", "activate", first[:6])
    assert (code, output) == (0, f"in use: {first[:12]} (tiny version 1), on probation\n")
    assert command("check")[0] == 0
    activation.commit(cell.store, first, 1)

    command("bundle", "install", cell.bundle(2))
    second = next(digest for digest in cell.store.installed() if digest != first)
    command("bundle", "activate", second)
    assert command("bundle", "list")[1] == (
        f"{first[:12]}  version 1  tiny  previous\n"
        f"{second[:12]}  version 2  tiny  in use, on probation\n"
    )
    assert command("bundle", "rollback") == (0, f"in use: {first[:12]} (tiny version 1)\n", "")
    code, _, errors = command("bundle", "rollback")
    assert (code, errors) == (4, f"{cell.store.path}: no previous bundle to go back to\n")


def test_the_list_for_machines_and_of_what_is_damaged(cell: StoreCell, command: Command) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    activation.take_back(cell.store, second, "5 bad slots of 9")
    (cell.store.folder(first) / "manifest.json").write_text("{}")
    data = json.loads(command("bundle", "list", "--json")[1])
    assert data["lowest_version"] == 1
    rows = {row["digest"]: row for row in data["bundles"]}
    assert rows[second]["states"] == ["failed: 5 bad slots of 9"]
    assert rows[second]["signed_by"] == "ours.pub"
    assert rows[first]["version"] is None
    assert "not signed by a trusted key" in rows[first]["states"][1]
    assert command("bundle", "list")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["install", "nowhere"], "manifest.json: cannot be read"),
        (["activate", "abc"], "no bundle 'abc'; installed: none"),
        (["rollback"], "no previous bundle"),
    ],
)
def test_what_cannot_be_done_ends_with_4(words: list[str], said: str, command: Command) -> None:
    code, _, errors = command("bundle", *words)
    assert code == 4
    assert said in errors


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('store = "store"', 'path = "bundle"', "trusted_keys: needs a store beside it"),
        ('store = "store"', "", "path: expected either path"),
        ('store = "store"', 'store = "store"\npath = "b"', "path: expected either path"),
        ('trusted_keys = "trusted"', "", "trusted_keys: missing, expected the folder"),
        ("probation_slots = 20", "probation_slots = 0", "an integer from 1"),
        ("probation_bad_slots = 3", "probation_bad_slots = -1", "an integer from 1"),
        ('trusted_keys = "trusted"', 'trusted_keys = "keys"', "holds no trusted key"),
        ('trusted_keys = "trusted"', 'trusted_keys = "none"', "trusted keys cannot be read"),
    ],
)
def test_a_wrong_configuration_ends_with_3(
    old: str, new: str, said: str, cell: StoreCell, command: Command
) -> None:
    cell.config_file.write_text(cell.config_file.read_text().replace(old, new))
    code, _, errors = command("bundle", "list")
    assert code == 3
    assert said in errors


def test_a_bundle_by_path_has_no_store(cell: StoreCell, command: Command) -> None:
    text = cell.config_file.read_text().replace('trusted_keys = "trusted"', "")
    cell.config_file.write_text(text.replace('store = "store"', 'path = "bundle"'))
    code, _, errors = command("bundle", "list")
    assert code == 3
    assert "bundle.store: missing; name a store and trusted_keys" in errors


def test_a_cell_adapts_the_bundle_in_use(cell: StoreCell, command: Command) -> None:
    """As far as the logs, which are not there: the bundle was found and checked before."""
    cell.use(1)
    (cell.folder / "state").mkdir()
    code, _, errors = command("adapt")
    assert (code, "logs.msgpack" in errors) == (6, True)


@pytest.mark.slow
def test_the_shipped_bundle_through_the_real_command(cell: StoreCell, tmp_path: Path) -> None:
    bundle = tmp_path / "networld"
    shutil.copytree(SHIPPED, bundle)
    sign_manifest(bundle, cell.key)

    def run(*words: str, **more: object) -> str:
        command = [sys.executable, "-m", "networld_runtime.cli", *words]
        done = subprocess.run(
            [*command, "--config", str(cell.config_file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == more.get("code", 0), done.stderr
        return done.stdout + done.stderr

    graph = bundle / "sleep" / "plan_4_int8.onnx"  # not even of this cell's task
    content = bytearray(graph.read_bytes())
    content[len(content) // 3] ^= 4
    graph.write_bytes(content)
    assert "sleep/plan_4_int8.onnx: damaged" in run("bundle", "install", str(bundle), code=4)
    assert cell.store.installed() == []
    shutil.copy(SHIPPED / "sleep" / "plan_4_int8.onnx", graph)
    assert "installed: " in run("bundle", "install", str(bundle))
    (digest,) = cell.store.installed()
    assert "on probation" in run("bundle", "activate", digest[:8])
    assert "bundle networld, task power, mode policy" in run("check")
