"""The diagnostics archive: what helps from afar is in it, and no secret, wherever it was planted."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from small_cell import SmallCell, small_config

from networld_runtime import cli
from networld_runtime.contract import Contract
from networld_runtime.watch import diagnostics
from networld_runtime.watch.diagnostics import REMOVED, scrub, without_secrets, write_diagnostics
from networld_runtime.watch.server import WatchServer

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"
PASSWORD = 'open"sesame\\-ü77'  # noqa: S105
KEY = "MC4CAQAwBQYDK2VwBCIEIPlantedPrivateKey0123456789"


def _archive(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            Path(member.name).name: archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell's folder with a password and a key in every place where one could be caught."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "private.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{KEY}\n")
    vector = np.zeros(3, dtype=np.float32)
    adapter = tmp_path / "state" / "adapter.safetensors"
    save_file({"adapter": vector}, adapter, metadata={"bundle": "ab"})
    (tmp_path / "state" / "outside").symlink_to(tmp_path / "password")
    lines = [
        json.dumps({"message": f"refused: {PASSWORD}"}),
        json.dumps({"message": f"refused: {PASSWORD}"}, ensure_ascii=False),
        f"refused: {PASSWORD}",
        "the last line",
    ]
    (tmp_path / "agent.log").write_text("\n".join(lines) + "\n")
    text = '[broker]\nusername = "cell-0"\npassword_file = "password"\n[log]\nfile = "agent.log"\n'
    small_config(tmp_path, text)
    return tmp_path


def test_no_planted_secret_is_in_the_archive(folder: Path) -> None:
    output = folder / "out.tar.gz"
    assert (
        cli.main(["diagnostics", "--config", str(folder / "cell.toml"), "--output", str(output)])
        == 0
    )
    files = _archive(output)
    whole = "\n".join(files.values())
    for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], KEY, "BEGIN PRIVATE", "sesame"):
        assert secret not in whole
    assert files["log.txt"].count(REMOVED) == 3
    assert files["log.txt"].endswith("the last line\n")
    assert output.stat().st_mode & 0o777 == 0o600


def test_the_archive_says_what_is_there_and_what_is_wrong(folder: Path) -> None:
    output = folder / "out.tar.gz"
    write_diagnostics(diagnostics_config(folder), output)
    files = {name: text for name, text in _archive(output).items() if name.endswith(".json")}
    data = {name: json.loads(text) for name, text in files.items()}
    configuration = data["configuration.json"]
    assert configuration["broker"]["username"] == "cell-0"
    assert configuration["broker"]["password_file"] == str(folder / "password")
    assert configuration["planner"]["seed"] == 0
    assert data["bundle.json"]["intact"] is False
    assert "manifest.json" in data["bundle.json"]["problems"][0]
    assert "watch.port" in data["status.json"]["problem"]
    assert {"numpy", "onnxruntime"} <= data["versions.json"]["packages"].keys()
    assert data["machine.json"]["cores"] >= 1
    listed = {entry["name"]: entry for entry in data["state.json"]["files"]}
    assert listed["adapter.safetensors"]["adapter"] == {"bundle": "ab"}
    assert len(listed["adapter.safetensors"]["sha256"]) == 64
    assert listed["private.pem"]["bytes"] > len(KEY)
    assert "sha256" not in listed["private.pem"]
    assert "sha256" not in listed["outside"]


def diagnostics_config(folder: Path, more: str = "") -> Any:
    """Return the configuration of a folder, with more tables."""
    from networld_runtime.config_reader import load_config

    file = folder / "cell.toml"
    file.write_text(file.read_text() + more)
    return load_config(file)


@pytest.fixture
def port(folder: Path, contract: Contract, free_port: int, tmp_path_factory: Any) -> Iterator[int]:
    """A cell that answers with a status."""
    del folder
    cell = SmallCell(contract, tmp_path_factory.mktemp("cell"))
    watch = cell.watch()
    watch.round()
    server = WatchServer(watch, "127.0.0.1", free_port)
    server.start()
    yield free_port
    server.stop()


def test_status_and_bundle_of_a_running_cell(folder: Path, port: int) -> None:
    text = (folder / "cell.toml").read_text().replace('path = "bundle"', f'path = "{SHIPPED}"')
    (folder / "cell.toml").write_text(text)
    write_diagnostics(
        diagnostics_config(folder, f"[watch]\nport = {port}\n"), folder / "out.tar.gz"
    )
    files = _archive(folder / "out.tar.gz")
    assert json.loads(files["status.json"])["ready"] is True
    bundle = json.loads(files["bundle.json"])
    assert bundle["intact"] is True
    assert bundle["manifest"]["name"] == "networld"


def test_only_the_end_of_a_long_log_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "LOG_BYTES", 100)
    (folder / "agent.log.1").write_text("old\n" * 100)
    write_diagnostics(diagnostics_config(folder), folder / "out.tar.gz")
    log = _archive(folder / "out.tar.gz")["log.txt"]
    assert log.endswith("the last line\n")
    assert len(log) <= 100
    assert "old" not in log


@pytest.mark.parametrize("output", ["none/out.tar.gz", "."])
def test_an_archive_that_cannot_be_written_ends_with_6(
    folder: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", str(folder / "cell.toml"), "--output", str(folder / output)]
    assert cli.main(["diagnostics", *options]) == 6
    assert "folder" in capsys.readouterr().err


def test_state_folder_that_is_not_there_is_told(folder: Path) -> None:
    config = diagnostics_config(folder)
    os.rename(folder / "state", folder / "moved")
    write_diagnostics(config, folder / "out.tar.gz")
    state = json.loads(_archive(folder / "out.tar.gz")["state.json"])
    assert state == {"directory": str(folder / "state"), "exists": False, "files": []}


SECRETS = st.text(min_size=4, max_size=30)


@given(secret=SECRETS, before=st.text(max_size=20), after=st.text(max_size=20))
def test_scrubbing_finds_a_secret_however_it_was_written(
    secret: str, before: str, after: str
) -> None:
    plain = f"{before}{secret}{after}"
    for text in (plain, json.dumps(plain), json.dumps(plain, ensure_ascii=False)):
        assert REMOVED in scrub(text, [secret])


@given(
    st.dictionaries(st.sampled_from(["password", "api_key", "Auth_Token", "secret_key"]), SECRETS)
)
def test_values_of_secret_keys_are_taken_out_at_any_depth(data: dict[str, str]) -> None:
    cleaned = without_secrets({"table": [{"inner": data}], "name": "kept"})
    assert cleaned["name"] == "kept"
    assert cleaned["table"][0]["inner"] == dict.fromkeys(data, REMOVED)
