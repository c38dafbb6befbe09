"""Options of the benchmarks, and the speed table at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from speed_report import SPEEDS, best_ratios, table

RUNS = Path(__file__).parents[1] / "runs" / "benchmarks"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the folder of the simulator's speed."""
    parser.addoption(
        "--speed-folder",
        default=str(RUNS),
        help="where simulator-speed.json, .csv and .png go (default: %(default)s)",
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the simulator's speed, if it was measured."""
    speeds = config.stash.get(SPEEDS, None)
    if speeds is None:
        return
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(table(speeds))
    terminalreporter.section("simulator speed")
    terminalreporter.write(capture.get())
    lines = best_ratios(speeds) or ["mobile-env is not installed: no ratios"]
    terminalreporter.write_line("\n".join(lines))
    folder = config.getoption("--speed-folder")
    terminalreporter.write_line(f"written to {folder}/simulator-speed.json, .csv and .png")
