"""`networld-agent run --record`: a real cell's traffic as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_cell import Drive, live_cell
from tiny_bundles import make_bundle

from networld_runtime import cli
from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract
from networld_runtime.mesh.recording import Recording
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.radio_codec import decode_action

CONFIG = """
[cell]
site = "test"
name = "a"
task = "power"
neighbours = ["b"]
[bundle]
path = "bundle"
[broker]
port = {port}
[state]
directory = "state"
"""


def test_a_cell_records_what_it_hears_and_says(
    tmp_path: Path, broker_port: int, contract: Contract
) -> None:
    make_bundle(tmp_path / "bundle", contract)
    config, file = tmp_path / "cell.toml", tmp_path / "cell.rec"
    config.write_text(CONFIG.format(port=broker_port))
    bundle = load_bundle(tmp_path / "bundle", "power")
    with live_cell(config, "--record", str(file)) as cell, Drive(broker_port, bundle, "a") as drive:
        answers = drive.slots(5)
        assert cell.end() == 0
    recording = Recording(file)
    heard = list(recording.messages())
    assert recording.cut is None
    topics = CellTopics("test", "a")
    counted = {
        leaf: [one.payload for one in heard if one.topic.endswith(f"/{leaf}")]
        for leaf in ("observation", "message", "action", "birth", "state")
    }
    assert {leaf: len(found) for leaf, found in counted.items()} == {
        "observation": 5, "message": 5, "action": 5, "birth": 1, "state": 2,
    }  # fmt: skip
    recorded = [decode_action(payload, contract).action.tolist() for payload in counted["action"]]
    assert recorded == answers
    assert {one.topic for one in heard} >= {topics.birth, topics.status}


def test_recording_of_several_cells_in_one_process_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--cells", "a.toml", "b.toml", "--record", "x.rec"])
    assert caught.value.code == 2
    assert "--record is for one cell" in capsys.readouterr().err


def test_an_existing_file_is_not_overwritten(
    tmp_path: Path, broker_port: int, contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle", contract)
    config, file = tmp_path / "cell.toml", tmp_path / "cell.rec"
    config.write_text(CONFIG.format(port=broker_port))
    file.write_bytes(b"precious")
    assert cli.main(["run", "--config", str(config), "--record", str(file)]) == 3
    assert file.read_bytes() == b"precious"
    assert "is there already" in capsys.readouterr().err
