"""The cells: a configuration and a folder for each, and the processes that they share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from networld_runtime.errors import NetWorldError
from networld_training.demo.brokers import Meeting
from networld_training.demo.processes import Child, Children
from networld_training.demo.settings import DemoSettings


class CellError(NetWorldError):
    """A cell's process ended, or does not answer."""


Tables = dict[str, dict[str, Any]]
"""What a cell is told, by table and key of its configuration."""


class Cells:
    """The processes of all cells.

    Args:
        children: Starts and ends them.
        configurations: What each cell is told, by name.
        processes: Processes that they share.
        folder: Holds a folder for each cell.
    """

    def __init__(
        self,
        children: Children,
        configurations: Mapping[str, Tables],
        processes: int,
        folder: Path,
    ) -> None:
        self.names = tuple(configurations)
        self.neighbours = {
            name: tuple(tables["cell"]["neighbours"]) for name, tables in configurations.items()
        }
        self.lost: dict[str, str] = {}
        """Cells whose process ended, with what is known about why."""
        self._processes: dict[str, Child] = {}
        files = {}
        for name, tables in configurations.items():
            home = folder / name
            home.mkdir(exist_ok=True)
            files[name] = home / "cell.toml"
            files[name].write_text(to_toml(tables), encoding="utf-8")
        for number in range(processes):
            names = self.names[number::processes]  # neighbours are rarely in the same one
            process = _start(children, names, [files[name] for name in names])
            self._processes.update(dict.fromkeys(names, process))

    @property
    def processes(self) -> set[Child]:
        """The processes."""
        return set(self._processes.values())

    @property
    def alive(self) -> tuple[str, ...]:
        """Names of the cells whose process was there when `look` was last called."""
        return tuple(name for name in self.names if name not in self.lost)

    def look(self) -> list[str]:
        """Look after the processes; return the cells that were lost since the last time.

        Raises:
            CellError: None is left.
        """
        new = []
        for name in self.alive:
            code = self._processes[name].exit_code()
            if code is not None:
                self.lost[name] = _cause(code)
                new.append(name)
        if not self.alive:
            raise self.error(new[0])
        return new

    def error(self, name: str) -> CellError:
        """Return an error about one cell with the last lines of its log."""
        what = self.lost.get(name, "is not ready")
        return CellError(name, f"{what}; it said:\n{self._processes[name].log_tail()}")


def _start(children: Children, names: Sequence[str], configs: Sequence[Path]) -> Child:
    """Start the process of some cells; its log is in the folder of the first."""
    command = [sys.executable, "-m", "networld_runtime.cli", "run"]
    command += ["--config" if len(names) == 1 else "--cells", *map(str, configs)]
    command += ["--parent-pid", str(os.getpid())]
    return children.start(names[0], command, configs[0].parent / "log.txt")


def to_toml(tables: Tables) -> str:
    """Return tables of strings, numbers and lists of strings as TOML."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        # Strings, numbers and lists look alike in JSON and TOML, if JSON leaves other scripts alone.
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()
        ]
    return "\n".join(lines) + "\n"


def demo_cells(
    settings: DemoSettings, meeting: Meeting, site: str, neighbours: Sequence[Sequence[int]]
) -> dict[str, Tables]:
    """Return what the cells of a demonstration are told, by name.

    Args:
        settings: What they run.
        meeting: Where they meet.
        site: Name of the site.
        neighbours: Indices of the neighbours of each cell `[K, N]`.
    """
    names = settings.cell_names
    return {
        name: {
            "cell": {
                "site": site,
                "name": name,
                "task": settings.task,
                "neighbours": [names[other] for other in neighbours[index]],
            },
            "bundle": {"path": str(settings.bundle.resolve())},
            "broker": {"host": meeting.host, "port": meeting.port},
            "planner": {"seed": settings.seed * settings.cells + index},
            "timing": {"slot_s": settings.slot_s},
            "log": {"format": "text"},
            "state": {"directory": "state"},
        }
        for index, name in enumerate(names)
    }


def _cause(exit_code: int) -> str:
    if exit_code < 0:
        return f"was killed by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
