"""The example of docs/radio.md, end to end: a package with a radio, and the real process of a cell."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from live_cell import PATIENCE_S, live_cell

from networld_runtime.bundle import load_bundle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "trace-radio"
PAGE = (ROOT / "docs" / "radio.md").read_text()
TRACE = [json.loads(line) for line in (EXAMPLE / "trace.jsonl").read_text().splitlines()]


def installed(folder: Path) -> dict[str, str]:
    """Lay out what `pip install` of the example would, and return the environment that finds it."""
    package = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    project, wheel = package["project"], package["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in wheel["only-include"]:
        shutil.copy(EXAMPLE / name, folder)
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["networld.radio"]
    lines = [f"{kind} = {point}" for kind, point in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[networld.radio]", *lines]))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_trace_is_played_and_every_action_recorded(tmp_path: Path, broker_port: int) -> None:
    folder = tmp_path / "installed"
    folder.mkdir()
    config = tmp_path / "cell.toml"
    text = (EXAMPLE / "cell.toml").read_text().replace("../../..", str(ROOT))
    config.write_text(text.replace('"trace.jsonl"', f'"{EXAMPLE / "trace.jsonl"}"'))
    actions = tmp_path / "actions.jsonl"
    options = [f"broker.port={broker_port}", f"state.directory={tmp_path / 'state'}"]
    options += [f"radio.options.actions={actions}", "timing.slot_s=0.05"]
    changes = [word for option in options for word in ("--set", option)]
    with live_cell(config, *changes, environment=installed(folder)) as cell:
        deadline_s = time.monotonic() + PATIENCE_S
        while f'"slot": {TRACE[-1]["slot"]},' not in actions.read_text():
            assert time.monotonic() < deadline_s, cell.log.read_text()
            time.sleep(0.02)
        assert cell.end() == 0
    recorded = [json.loads(line) for line in actions.read_text().splitlines()]
    slots = [one["slot"] for one in recorded]
    assert slots == sorted(set(slots))  # a slow machine may skip one, and repeats none
    assert set(slots) <= {entry["slot"] for entry in TRACE}
    assert len(slots) > len(TRACE) / 2
    (component,) = load_bundle(ROOT / "bundles" / "networld", "power").contract.actions
    assert component.name == "power_db"
    powers = {one["action"][0] for one in recorded}
    assert len(powers) > 1  # the model answers what it sees
    assert all(-40 <= power <= 0 for power in powers)
    assert "model failed" not in cell.log.read_text()
    assert "radio:" not in cell.log.read_text()


def test_page_shows_the_example_as_it_is() -> None:
    blocks = re.findall(r"```(python|toml)\n(.*?)```", PAGE, re.DOTALL)
    source = (EXAMPLE / "trace_radio.py").read_text()
    shown = [block for language, block in blocks if language == "python"]
    assert shown
    assert all(block.rstrip() in source for block in shown)
    files = (EXAMPLE / "pyproject.toml").read_text() + (EXAMPLE / "cell.toml").read_text()
    shown = [block for language, block in blocks if language == "toml"]
    assert shown
    assert all(block.rstrip() in files for block in shown)


def test_trace_fits_the_contract() -> None:
    contract = load_bundle(ROOT / "bundles" / "networld", "power").contract
    assert all(len(entry["values"]) == contract.observation_size for entry in TRACE)


def test_links_of_the_page_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_names_of_the_page_are_those_of_the_code() -> None:
    from networld_runtime.radio import Observation, RadioSetup
    from networld_runtime.radio_kinds import GROUP

    for kind in (Observation, RadioSetup):
        table = PAGE.partition(f"| `{kind.__name__}`")[2].partition("\n\n")[0]
        rows = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
        public = list(kind.__dataclass_fields__)
        assert rows == [name for name in public if name != "folders"]
    assert f'entry-points."{GROUP}"' in PAGE


@pytest.mark.parametrize("name", ["pyproject.toml", "trace_radio.py", "trace.jsonl", "cell.toml"])
def test_page_names_every_file(name: str) -> None:
    assert name in PAGE
