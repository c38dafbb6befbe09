"""Write the tables of docs/experiments.md from what `networld experiment` has left beside its files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import tomllib
from update_results import AS_INFORMED, CEILING, with_interval

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "experiments.md"
FOLDER = ROOT / "benchmarks" / "experiments"
LEARNING = ROOT / "docs" / "learning.md"
CHOICE = ROOT / "docs" / "choice.json"
CHOSEN = re.compile(r"(<!-- choice -->\n).*?(<!-- choice end -->)", re.DOTALL)
SECTION = re.compile(r"(<!-- experiments -->\n).*?(<!-- experiments end -->)", re.DOTALL)


def experiment_section(file: Path) -> str:
    """Return title, command, table and picture of an experiment that was run, as Markdown."""
    plan = tomllib.loads(file.read_text())
    found = json.loads(file.with_suffix(".json").read_text())
    rows, seeds, episodes = found["rows"], found["training_seeds"], plan["episodes"]
    paired = {(row["scenario"], row["policy"]): row["difference"] for row in found["paired"]}
    trained = f"{len(seeds)} training seeds" if len(seeds) > 1 else f"training seed {seeds[0]}"
    variants = [variant["name"] for variant in plan["variant"]]
    place = f"../{file.relative_to(ROOT).as_posix()}"
    lines = [
        f"### {plan['title']}",
        "",
        f"`networld experiment {file.relative_to(ROOT).as_posix()}`: {trained}, {episodes} episodes "
        f"each. All figures: [CSV]({Path(place).with_suffix('.csv').as_posix()}), "
        f"[JSON]({Path(place).with_suffix('.json').as_posix()}), "
        f"[picture]({Path(place).with_suffix('.png').as_posix()}).",
        "",
        f"| scenario | {' | '.join(variants)} | best rule that knows no more | information ceiling |",
        f"|---{'|---' * len(variants)}|---|---|",
    ]
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        here = {row["policy"]: row for row in rows if row["scenario"] == scenario}
        differences = {name: paired[scenario, name] for name in here if (scenario, name) in paired}
        lines.append(_line(scenario, here, differences, variants))
    return "\n".join(lines)


def _line(
    scenario: str,
    here: dict[str, dict[str, Any]],
    differences: dict[str, dict[str, float]],
    variants: list[str],
) -> str:
    """Return the line of a scenario; cells of variants that do not act in it stay empty."""
    first = variants[0]
    told = [
        "" if name not in here else _cell(here[name], None if name == first else differences[name])
        for name in variants
    ]
    rules = [
        row
        for name, row in here.items()
        if name not in (CEILING, *variants) and row["information"] in AS_INFORMED
    ]
    best = max(rules, key=lambda row: row["score"]["iqm"])
    ceiling = with_interval(here[CEILING]["score"]) if CEILING in here else ""
    name = scenario.removeprefix("networld/").rpartition("-v")[0]
    cells = [f"`{name}`", *told, f"{with_interval(best['score'])} `{best['policy']}`", ceiling]
    return f"| {' | '.join(cells)} |"


def _cell(row: dict[str, Any], difference: dict[str, float] | None) -> str:
    """Return a score with its interval, or with its difference to the first variant where there is one."""
    if difference is None:
        return with_interval(row["score"])
    value, low, high = (difference[name] for name in ("value", "low", "high"))
    return f"{row['score']['iqm']:.1f}, {value:+.1f} [{low:+.1f}, {high:+.1f}]"


def updated_page() -> str:
    """Return docs/experiments.md with the tables of all experiments that were run."""
    done = [file for file in sorted(FOLDER.glob("*.toml")) if file.with_suffix(".json").exists()]
    section = "\n\n".join(map(experiment_section, done))
    return SECTION.sub(lambda found: f"{found[1]}\n{section}\n\n{found[2]}", PAGE.read_text())


def choice_table(found: dict[str, Any]) -> str:
    """Return the scores of the models that one was chosen from, as Markdown."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in found["rows"]:
        if row["policy"].startswith("seed-"):
            scores.setdefault(row["policy"], {})[row["task"]] = row["score"]
    tasks = list(next(iter(scores.values())))
    lines = [
        f"| | {' | '.join(f'`{task}`' for task in tasks)} | mean |",
        f"|---{'|---' * len(tasks)}|---|",
    ]
    for name, one in sorted(scores.items()):
        mean = sum(score["iqm"] for score in one.values()) / len(one)
        cells = [
            name.replace("-", " "),
            *(with_interval(one[task]) for task in tasks),
            f"{mean:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def updated_learning() -> str:
    """Return docs/learning.md with the scores of the models that one was chosen from."""
    table = choice_table(json.loads(CHOICE.read_text()))
    return CHOSEN.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", LEARNING.read_text())


if __name__ == "__main__":
    PAGE.write_text(updated_page())
    LEARNING.write_text(updated_learning())
