"""The page for operators: every metric, exit code and thread is in it, as the code has it."""

from __future__ import annotations

from pathlib import Path

from networld_runtime.exit_codes import ExitCode
from networld_runtime.watch.metrics import PROCESS_METRICS, TABLE
from networld_runtime.watch.threads import THREADS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = "\n".join(path.read_text() for path in sorted(DOCS.glob("operations.md")))


def test_every_metric_is_explained() -> None:
    missing = [row.name for row in TABLE if f"| `{row.name}` | {row.help} |" not in PAGE]
    assert missing == []
    assert [name for name in PROCESS_METRICS if f"`{name}`" not in PAGE] == []


def test_every_exit_code_is_explained() -> None:
    for code in ExitCode:
        name = code.name.lower().replace("_", " ")
        assert f"| {int(code)} | {name} | {code.meaning} | {code.remedy} |" in PAGE


def test_every_thread_is_explained() -> None:
    assert all(f"| `{name}" in PAGE and f"| {purpose} |" in PAGE for name, purpose in THREADS)
