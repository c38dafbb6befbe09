"""What the demonstration shows and where its results go."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from networld_runtime.errors import ConfigError
from networld_runtime.files import obstacle_to_writing
from networld_training.demo.scenes.registry import SCENES
from networld_training.demo.scenes.scene import Scene
from networld_training.radio.geometry import RINGS
from networld_training.tasks.entry import TaskEntry
from networld_training.tasks.network import Network
from networld_training.tasks.registry import find_task

LARGEST_SEED = 2**31 - 1
# Keeps the demonstration's drops apart from all others that are drawn from a small seed.
SEED_DOMAIN = 0x64656D6F
MOST_ALONE = 7
"""So many cells have a process each: it takes a core and 80 MB to start one."""


def usual_slot_ms(cells: int) -> float:
    """Return the wall time of a slot that two cores bear, simulator and all."""
    return max(60.0, 2.0 * cells)


@dataclass(frozen=True)
class DemoSettings:
    """One demonstration.

    Attributes:
        bundle: Folder of the bundle that every cell runs.
        task: What the cells do, one of the bundle's tasks.
        cells: Number of cells.
        processes: Processes that the cells share; None takes one for each of up to 7 cells, else one for
            each core.
        broker: `embedded`, `mosquitto` or `mqtt://host:port`.
        episodes: Drops that are run before and after adaptation.
        support_episodes: Other drops, from which the cells learn.
        slots: Slots of a drop.
        slot_ms: Wall time of a slot, whatever time it stands for in the simulator.
        seed: Seed of the drops and of the planners.
        json: Where results are written as JSON; None writes none.
        picture: Where the picture is written, a PNG.
        work: Folder for configurations, logs and states; None takes a temporary one.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    bundle: Path = Path("bundles/networld")
    task: str = "power"
    cells: int = 7
    broker: str = "embedded"
    episodes: int = 6
    support_episodes: int = 4
    slots: int = 100
    slot_ms: float = 60.0
    processes: int | None = None
    seed: int = 0
    json: Path | None = None
    picture: Path = Path("demo.png")
    work: Path | None = None

    def __post_init__(self) -> None:
        checks = (
            ("task", self.task in SCENES, " or ".join(SCENES)),
            ("cells", self.cells in RINGS, f"one of {sorted(RINGS)}"),
            ("episodes", 1 <= self.episodes <= 1000, "1 to 1000"),
            ("support-episodes", 1 <= self.support_episodes <= 1000, "1 to 1000"),
            ("slots", 2 <= self.slots <= 100_000, "2 to 100000"),
            (
                "processes",
                self.processes is None or 1 <= self.processes <= self.cells,
                "1 to --cells",
            ),
            ("slot-ms", 1 <= self.slot_ms <= 60_000, "1 to 60000"),
            ("seed", 0 <= self.seed <= LARGEST_SEED, f"0 to {LARGEST_SEED}"),
        )
        problems = [
            f"--{name} {getattr(self, name.replace('-', '_'))}: expected {expected}"
            for name, valid, expected in checks
            if not valid
        ]
        for name, file in (("json", self.json), ("picture", self.picture)):
            obstacle = None if file is None else obstacle_to_writing(file)
            if obstacle is not None:
                problems.append(f"--{name} {file}: {obstacle}")
        if problems:
            raise ConfigError("demo", problems)

    @property
    def slot_s(self) -> float:
        """Wall time of a slot in seconds."""
        return self.slot_ms / 1000

    @property
    def process_count(self) -> int:
        """Processes that the cells share."""
        if self.processes is not None:
            return self.processes
        return self.cells if self.cells <= MOST_ALONE else min(os.cpu_count() or 1, self.cells)

    @property
    def cell_names(self) -> tuple[str, ...]:
        """Names of the cells, in the order of the simulator."""
        return tuple(f"cell-{index}" for index in range(self.cells))

    @property
    def entry(self) -> TaskEntry:
        """The task."""
        return find_task(self.task)

    @property
    def scene(self) -> Scene:
        """What is shown of the task."""
        return SCENES[self.task]

    def network(self) -> Network:
        """Return the network that is simulated: that of the task's first reference, so large and long."""
        scenarios = self.entry.scenarios.values()
        reference = next(one for one in scenarios if one.axis == "reference")
        return replace(reference.networks[0], cells=self.cells, slots=self.slots)

    def drop_seeds(self) -> tuple[list[int], list[int]]:
        """Return the seeds of the drops that are judged and of those that are learned from."""
        random = np.random.default_rng((SEED_DOMAIN, self.seed))
        seeds = random.choice(2**31, size=self.episodes + self.support_episodes, replace=False)
        return seeds[: self.episodes].tolist(), seeds[self.episodes :].tolist()
