"""What learned policies achieve over the environment steps that they have seen: CSV and picture in docs.

Example: python benchmarks/sample_efficiency.py --baselines runs/baselines --models runs/models

Reads the learning curves that `networld baseline` leaves beside its policies. NetWorld's models of the
experiment `tasks` are judged on the same validation episodes; their steps are those of the data sets.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from networld_runtime.planner_settings import PlannerSettings
from networld_training.baselines.online_settings import VALIDATION_EPISODES, VALIDATION_SEED
from networld_training.data.manifest import read_finished_manifest
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.checkpoint_policy import load_policy
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.trainer import CHECKPOINT
from networld_training.tasks.registry import TASKS, find_scenario

RUN = re.compile(r"(power|sched|sleep)-([a-z-]+)-(\d+)")
OUTPUT = Path(__file__).parents[1] / "docs" / "baselines"
NETWORLD = "networld"


@dataclass(frozen=True)
class Point:
    """How good a policy was at some time.

    Attributes:
        task: Name of the task.
        method: What learned.
        seed: Training seed.
        environment_steps: Slots of single cells that it has seen.
        value: The task's scored figure of merit on the validation episodes.
    """

    task: str
    method: str
    seed: int
    environment_steps: int
    value: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--baselines", type=Path, default=Path("runs/baselines"))
    parser.add_argument("--models", type=Path, default=Path("runs/models"))
    parser.add_argument("--data", type=Path, default=Path("runs/data"))
    options = parser.parse_args()
    points = [*curves(options.baselines), *ours(options.models, options.data)]
    OUTPUT.mkdir(exist_ok=True)
    with (OUTPUT / "sample-efficiency.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("task", "method", "seed", "environment_steps", "value"))
        table.writerows((p.task, p.method, p.seed, p.environment_steps, p.value) for p in points)
    draw(points, OUTPUT / "sample-efficiency.png")


def curves(folder: Path) -> Iterator[Point]:
    """Yield the validated points of all learning curves in a folder."""
    for path in sorted(folder.glob("*.csv")):
        named = RUN.fullmatch(path.stem)
        if named is None:
            continue
        task, method, seed = named.groups()
        scored = TASKS[task].spec.kpis[0].name
        with path.open() as file:
            for row in csv.DictReader(file):
                if row[scored]:
                    yield Point(
                        task, method, int(seed), int(row["environment_steps"]), float(row[scored])
                    )


def ours(models: Path, data: Path) -> Iterator[Point]:
    """Yield a point for each finished model and task, on the episodes that baselines are validated on."""
    for path in sorted(models.glob(f"all-[0-9]/{CHECKPOINT}")):
        checkpoint = load_checkpoint(path)
        if checkpoint.step < checkpoint.settings.all_steps:
            continue
        seed = checkpoint.seed
        for task, entry in TASKS.items():
            values = []
            for network in find_scenario(f"{task}/train").networks:
                seeds = range(VALIDATION_SEED, VALIDATION_SEED + VALIDATION_EPISODES)
                found = run_policy(
                    entry.make(network, seeds),
                    load_policy(path, task, PlannerSettings(mode="policy")),
                )
                values.append(found[entry.spec.kpis[0].name])
            yield Point(
                task, NETWORLD, seed, _logged_steps(data / f"{task}-mixed"), float(np.mean(values))
            )


def _logged_steps(folder: Path) -> int:
    manifest = read_finished_manifest(folder)
    network = find_scenario(f"{manifest.task}/train").networks[0]
    return manifest.episodes * (manifest.slots or network.slots) * network.cells


def draw(points: list[Point], path: Path) -> None:
    """Draw the mean over the seeds, a panel for each task."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow

    tasks = list(dict.fromkeys(point.task for point in points))
    figure = Figure(figsize=(4.4 * len(tasks), 3.8), layout="constrained")
    for panel, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        here = [point for point in points if point.task == task]
        for method in dict.fromkeys(point.method for point in here):
            steps = sorted({p.environment_steps for p in here if p.method == method})
            means = [
                np.mean(
                    [p.value for p in here if (p.method, p.environment_steps) == (method, step)]
                )
                for step in steps
            ]
            marker = "*" if method == NETWORLD else "."
            panel.plot(
                steps, means, marker=marker, label=method, markersize=14 if marker == "*" else 5
            )
        kpi = TASKS[task].spec.kpis[0]
        panel.set(title=task, xlabel="environment steps", ylabel=f"{kpi.name} ({kpi.unit})")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
