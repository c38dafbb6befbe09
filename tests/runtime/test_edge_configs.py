"""The shipped configurations: every one is right, for a board that this computer is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from networld_runtime import cli, sessions
from networld_runtime.config_reader import load_config
from networld_runtime.startup import as_this_computer_can, provider_note

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "edge_configs").glob("*.toml"))
BOARDS = {"x86-cpu", "x86-cuda", "jetson-orin-nano", "jetson-agx-orin", "raspberry-pi-5"}


def test_every_board_has_a_file_and_a_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "boards").glob("*.md")} - {"README"}
    assert {path.stem for path in FILES} == pages == BOARDS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_passes_the_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"OK: {file}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_page_names_the_file_and_the_provider_of_its_board(file: Path) -> None:
    page = (ROOT / "docs" / "boards" / f"{file.stem}.md").read_text()
    assert f"edge_configs/{file.name}" in page
    assert f'provider = "{load_config(file).execution.provider}"' in page


@pytest.mark.parametrize("page", [*sorted(BOARDS), "README"])
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    folder = ROOT / "docs" / "boards"
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (folder / f"{page}.md").read_text())
    assert links
    assert [link for link in links if not (folder / link).exists()] == []


def test_a_file_for_a_gpu_is_checked_without_one_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    notes = {}
    for file in FILES:
        assert cli.main(["check", "--config", str(file)]) == 0
        notes[file.stem] = capsys.readouterr().err
    assert "would end here" in notes["x86-cuda"]
    assert "would go on with cpu here" in notes["jetson-agx-orin"]
    assert all(not notes[name] for name in BOARDS - {"x86-cuda", "jetson-agx-orin"})


def test_no_note_where_the_provider_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: names)
    assert sessions.available_providers() == ("cpu", "cuda")
    config = load_config(ROOT / "edge_configs" / "x86-cuda.toml")
    assert provider_note(config) is None
    assert as_this_computer_can(config) == config


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('provider = "rocm"', "execution.provider = 'rocm'"),
        ("threads = 0", "execution.threads = 0"),
        ("on_missing = true", "execution.on_missing = True"),
        ("thread = 1", "execution.thread: unknown key; did you mean threads?"),
    ],
)
def test_a_wrong_execution_table_is_told(
    given: str, told: str, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_file.write_text(f"{config_file.read_text()}\n[execution]\n{given}\n")
    assert cli.main(["check", "--config", str(config_file)]) == 3
    assert told in capsys.readouterr().err


def test_commented_keys_are_keys(tmp_path: Path) -> None:
    """What a user takes the comment sign from is known, too."""
    text = (ROOT / "edge_configs" / "x86-cpu.toml").read_text()
    lines = [re.sub(r"^# (?=\[\w+\]$|\w+ = )", "", line) for line in text.splitlines()]
    lines = [line for line in lines if not line.startswith("password_file")]
    uncommented = "\n".join(lines)
    assert uncommented.count("\n[") > text.count("\n[")
    file = tmp_path / "cell.toml"
    file.write_text(uncommented.replace('"../', f'"{ROOT}/'))
    assert cli.main(["check", "--config", str(file)]) == 0
