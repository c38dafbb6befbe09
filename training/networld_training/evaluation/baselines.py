"""Every rule in every scenario of every task: the tables and pictures that the project publishes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from networld_runtime.errors import ConfigError
from networld_runtime.files import write_atomically
from networld_training.evaluation.comparison import Comparison
from networld_training.evaluation.picture import draw_results
from networld_training.evaluation.report import report_markdown
from networld_training.evaluation.results import results_csv, results_json
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario

PACKAGES = ("networld-training", "numpy", "scipy")


# More episodes where rules are told apart, fewer where worlds are.
REFERENCE_FACTOR = 4


def baseline_scenarios() -> list[Scenario]:
    """Return the scenarios of all tasks, in each task the references first.

    Those of many cells are not among them: experts take long there.
    """
    return [
        scenario
        for entry in TASKS.values()
        for scenario in sorted(entry.scenarios.values(), key=lambda one: one.axis != "reference")
        if scenario.axis != "size"
    ]


def prepare_folder(folder: Path) -> None:
    """Make the folder of the results, before the work.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--output-dir", f"{folder}: {error.strerror}") from error


def write_baselines(
    comparison: Comparison, folder: Path, command: str, progress: Callable[[int], None]
) -> list[Path]:
    """Run a comparison and write `results.md`, `.csv`, `.json` and `results-<task>.png`.

    Args:
        comparison: What is compared.
        folder: Where the files go.
        command: What made them, for the page.
        progress: As for `Comparison.run`.

    Returns:
        The files.

    Raises:
        NetWorldError: A rule failed, or there is no score.
        OSError: A file cannot be written.
    """
    begin_s = time.monotonic()
    results = comparison.run(progress)
    by_task = {
        task: [one for one in results if one.scenario.task == task]
        for task in dict.fromkeys(one.scenario.task for one in results)
    }
    pictures = {task: folder / f"results-{task}.png" for task in by_task}
    for task, picture in pictures.items():
        draw_results(by_task[task], picture)
    minutes = (time.monotonic() - begin_s) / 60
    made = _made(comparison, command, minutes)
    texts = {
        "results.md": report_markdown(by_task, made),
        "results.csv": results_csv(results),
        "results.json": results_json(results),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [*(folder / name for name in texts), *pictures.values()]


def _made(comparison: Comparison, command: str, minutes: float) -> str:
    """Return how the results were made, as a sentence."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    processes = f"{comparison.jobs} process{'es' if comparison.jobs > 1 else ''}"
    return (
        f"Made by `{command}`: {comparison.episodes} episodes in each scenario, "
        f"{comparison.reference_factor} times as many in the reference scenarios, seed "
        f"{comparison.seed}, {minutes:.1f} minutes with {processes} "
        f"(Python {platform.python_version()}, {packages})."
    )
