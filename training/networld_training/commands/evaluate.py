"""`networld evaluate`: judge policies on the same drops, or recompute published and standard values."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from networld_runtime.errors import ConfigError
from networld_runtime.planner_settings import MODES as PLANNER_MODES
from networld_training.cli import Subparsers, add_command, natural
from networld_training.commands.output import check_files, check_folder, write_json

if TYPE_CHECKING:
    from networld_training.tasks.scenario import Scenario

DEFAULT_SCENARIO = "power/umi100"
EPISODES = 64
BASELINE_EPISODES = 32
AGAINST = (
    "compare all others with this policy, episode by episode; the best rule that knows the mean "
    "field at most if not given"
)
MODES = {
    "all_baselines": ("policy", "bundle", "mode", "episodes", "seed", "jobs", "output_dir"),
    "published": ("seed", "json", "links", "drops"),
    "path_loss": ("json", "model", "los", "distance_m", "carrier_hz"),
}
"""What is done instead of judging policies, and the options that go with it."""
OF_POLICIES = (
    *("scenario", "task", "policy", "bundle", "mode", "only", "against"),
    *("episodes", "seed", "jobs", "json", "csv", "picture"),
)


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "evaluate",
        "Judge policies on the same episodes; or check the simulator itself.",
        "networld evaluate --scenario power/umi100 --policy my_policy.py:MyPolicy --episodes 64",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        metavar="ID",
        help="where: an id such as power/umi100, or a JSON file of a network of your own; may be "
        f"repeated; {DEFAULT_SCENARIO} if neither --scenario nor --task is given",
    )
    parser.add_argument("--task", help="where: all scenarios of this task")
    parser.add_argument(
        "--policy",
        action="append",
        metavar="WHAT",
        default=[],
        help="judge this beside the task's rules: a bundle's folder, the .safetensors of a checkpoint "
        "or of `networld baseline`, file.py:Class or package.module:Class, or a rule's name with "
        "--only; NAME=WHAT calls it otherwise; may be repeated",
    )
    parser.add_argument("--bundle", type=Path, help="the same as --policy, for a bundle's folder")
    parser.add_argument(
        "--mode",
        choices=PLANNER_MODES,
        help="how bundles and checkpoints choose their actions; as they were exported if not given",
    )
    parser.add_argument(
        "--only", action="store_true", help="no other rules than random, the expert and --policy"
    )
    parser.add_argument("--against", metavar="NAME", help=AGAINST)
    parser.add_argument(
        "--episodes",
        type=int,
        help=f"episodes in each scenario; {EPISODES} if not given. With --all-baselines "
        f"{BASELINE_EPISODES}, and four times as many in the reference scenarios",
    )
    parser.add_argument("--seed", type=natural, default=0, help="which episodes")
    parser.add_argument(
        "--jobs", type=int, help="processes; 1, or all cores with --all-baselines, if not given"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a PNG of the scores")
    baselines = parser.add_argument_group(
        "baselines",
        "all rules in all scenarios of all tasks, and --policy and --bundle beside them, as published in "
        "docs/results.md",
    )
    baselines.add_argument("--all-baselines", action="store_true", help="run them")
    baselines.add_argument("--output-dir", type=Path, default=Path("docs"), help="where files go")
    published = parser.add_argument_group(
        "published benchmark", "sum rate per link of WMMSE, FP, random and full power"
    )
    published.add_argument("--published", action="store_true", help="run it")
    published.add_argument("--links", type=int, default=40, help="transmitters and receivers")
    published.add_argument("--drops", type=int, default=1000, help="random places of the links")
    path_loss = parser.add_argument_group("path loss", "of 3GPP TR 38.901, one value")
    path_loss.add_argument("--path-loss", action="store_true", help="compute it")
    path_loss.add_argument("--model", default="umi", help="umi or uma")
    path_loss.add_argument(
        "--los", action=argparse.BooleanOptionalAction, default=True, help="line of sight"
    )
    path_loss.add_argument("--distance-m", type=float, default=100.0, help="along the ground")
    path_loss.add_argument("--carrier-hz", type=float, default=3.5e9, help="carrier frequency")
    parser.set_defaults(run=partial(run, vars(parser.parse_args([]))))


def run(defaults: Mapping[str, Any], arguments: argparse.Namespace) -> int:
    """Evaluate; return 0.

    Args:
        defaults: Value of each option that is not given.
        arguments: Of the command line.
    """
    given = [name for name, value in defaults.items() if getattr(arguments, name) != value]
    mode = next((name for name in MODES if name in given), None)
    fitting = OF_POLICIES if mode is None else (mode, *MODES[mode])
    others = [f"--{name.replace('_', '-')}" for name in given if name not in fitting]
    if others:
        subject = "evaluate" if mode is None else f"--{mode.replace('_', '-')}"
        raise ConfigError(
            subject, f"takes no {', '.join(others)}; --help shows which options go together"
        )
    check_files(arguments, "json", "csv", "picture")
    if mode == "all_baselines":
        _all_baselines(arguments)
    elif mode == "published":
        write_json(arguments.json, _published(arguments))
    elif mode == "path_loss":
        write_json(arguments.json, _path_loss(arguments))
    else:
        _policies(arguments)
    return 0


def _published(arguments: argparse.Namespace) -> dict[str, Any]:
    from networld_training.radio.published import published_benchmark

    results = published_benchmark(arguments.links, arguments.drops, arguments.seed)
    for name, value in results.items():
        if name == "iterations":
            print(f"iterations: WMMSE {value['wmmse']:.1f}, FP {value['fp']:.1f}")
        else:
            print(f"{name:8s} {value:.3f} b/s/Hz per link")
    return {**results, "links": arguments.links, "drops": arguments.drops, "seed": arguments.seed}


def _path_loss(arguments: argparse.Namespace) -> dict[str, Any]:
    from networld_runtime.errors import check_values
    from networld_training.radio.propagation import path_loss_db

    checks = (
        ("distance_m", 0 < arguments.distance_m <= 1e5, "above 0, at most 100 km"),
        ("carrier_hz", 5e8 <= arguments.carrier_hz <= 1e11, "0.5 to 100 GHz (TR 38.901)"),
    )
    check_values("path loss", arguments, checks)
    value = float(
        path_loss_db(arguments.model, arguments.los, arguments.distance_m, arguments.carrier_hz)
    )
    print(f"{value:.4f}")
    return {"path_loss_db": value}


def _policies(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from networld_runtime.files import write_atomically
    from networld_training.evaluation.comparison import Comparison
    from networld_training.evaluation.picture import draw_results
    from networld_training.evaluation.results import results_csv, results_json
    from networld_training.evaluation.table import Line, paired_table, policy_table, show
    from networld_training.progress import reporting

    comparison = Comparison(
        scenarios=_scenarios(arguments),
        policies=_asked(arguments),
        only=arguments.only,
        mode=arguments.mode,
        episodes=EPISODES if arguments.episodes is None else arguments.episodes,
        seed=arguments.seed,
        jobs=1 if arguments.jobs is None else arguments.jobs,
        against=arguments.against,
    )
    with reporting("percent", 100) as progress:
        results = comparison.run(progress.update)
    # Files first: a reader of the tables may go, as `head` does.
    if arguments.json is not None:
        write_atomically(arguments.json, results_json(results, arguments.against).encode())
    if arguments.csv is not None:
        write_atomically(arguments.csv, results_csv(results).encode())
    if arguments.picture is not None:
        draw_results(results, arguments.picture)
    console = Console()
    for result in results:
        count = len(result.seeds)
        episodes = f"{count} episode{'s' if count > 1 else ''}"
        title = f"{result.scenario.id}, {episodes}, seed {arguments.seed}"
        show(console, policy_table(title, result.spec.kpis, map(Line.of, result.rows)))
        if comparison.policies or arguments.against:
            show(console, paired_table(result.paired(arguments.against)))


def _asked(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the policies that were asked for."""
    # The slash tells a folder from the name of a rule.
    bundles = [f"{arguments.bundle}/"] if arguments.bundle else []
    return (*arguments.policy, *bundles)


def _scenarios(arguments: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios that were asked for; raises one error for all that are not there."""
    from networld_training.evaluation.scenario_file import load_scenario
    from networld_training.tasks.registry import find_scenario, find_task

    found = list(find_task(arguments.task).scenarios.values()) if arguments.task else []
    texts = arguments.scenario or ([] if arguments.task else [DEFAULT_SCENARIO])
    problems: list[str] = []
    for text in dict.fromkeys(texts):
        find = load_scenario if text.endswith(".json") else find_scenario
        try:
            one = find(text)
        except ConfigError as error:
            problems += [f"{error.subject}: {problem}" for problem in error.problems]
            continue
        found.append(one)
    if problems:
        raise ConfigError("evaluate", problems)
    return list({scenario.id: scenario for scenario in found}.values())


def _all_baselines(arguments: argparse.Namespace) -> None:
    import os

    from networld_training.evaluation.baselines import (
        REFERENCE_FACTOR,
        baseline_scenarios,
        prepare_folder,
        write_baselines,
    )
    from networld_training.evaluation.comparison import Comparison
    from networld_training.progress import reporting

    check_folder("output-dir", arguments.output_dir)
    prepare_folder(arguments.output_dir)
    comparison = Comparison(
        scenarios=baseline_scenarios(),
        policies=_asked(arguments),
        mode=arguments.mode,
        episodes=BASELINE_EPISODES if arguments.episodes is None else arguments.episodes,
        reference_factor=REFERENCE_FACTOR,
        seed=arguments.seed,
        jobs=(os.cpu_count() or 1) if arguments.jobs is None else arguments.jobs,
    )
    options = [f"--policy {text}" for text in arguments.policy]
    options += [f"--bundle {arguments.bundle}"] if arguments.bundle else []
    options += [f"--mode {arguments.mode}"] if arguments.mode else []
    options += [f"--episodes {comparison.episodes}", f"--seed {comparison.seed}"]
    command = f"networld evaluate --all-baselines {' '.join(options)}"
    with reporting("percent", 100) as progress:
        files = write_baselines(comparison, arguments.output_dir, command, progress.update)
    for file in files:
        print(file)
