"""`networld evaluate`: judge policies on the same drops, or recompute published and standard values."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from networld_training.cli import Subparsers, add_command, natural


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "evaluate",
        "Judge a bundle and all heuristics on the same drops; or check the simulator itself.",
        "networld evaluate --bundle bundles/power --episodes 16",
    )
    parser.add_argument("--bundle", type=Path, help="bundle folder; heuristics alone without it")
    parser.add_argument("--scenario", default="umi100", help="name of a scenario of the power task")
    parser.add_argument("--episodes", type=int, default=16, help="drops of users")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the drops")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    published = parser.add_argument_group(
        "published benchmark", "sum rate per link of WMMSE, FP, random and full power"
    )
    published.add_argument("--published", action="store_true", help="run it")
    published.add_argument("--links", type=int, default=40)
    published.add_argument("--drops", type=int, default=1000)
    path_loss = parser.add_argument_group("path loss", "of 3GPP TR 38.901, one value")
    path_loss.add_argument("--path-loss", action="store_true", help="compute it")
    path_loss.add_argument("--model", default="umi", help="umi or uma")
    path_loss.add_argument(
        "--los", action=argparse.BooleanOptionalAction, default=True, help="line of sight"
    )
    path_loss.add_argument("--distance-m", type=float, default=100.0, help="along the ground")
    path_loss.add_argument("--carrier-hz", type=float, default=3.5e9)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; return 0."""
    import json

    from networld_runtime.errors import ConfigError
    from networld_runtime.files import obstacle_to_writing, write_atomically

    obstacle = arguments.json and obstacle_to_writing(arguments.json)
    if obstacle:
        raise ConfigError("--json", f"{arguments.json}: {obstacle}")
    if arguments.published:
        results = _published(arguments)
    elif arguments.path_loss:
        results = _path_loss(arguments)
    else:
        results = _policies(arguments)
    if arguments.json is not None:
        write_atomically(arguments.json, (json.dumps(results, indent=1) + "\n").encode())
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


def _policies(arguments: argparse.Namespace) -> dict[str, Any]:
    from rich.console import Console

    from networld_training.evaluation.comparison import Comparison
    from networld_training.evaluation.table import policy_table
    from networld_training.progress import reporting

    comparison = Comparison(
        arguments.bundle, arguments.scenario, arguments.episodes, arguments.seed
    )
    with reporting("slots", comparison.slots) as progress:
        results = comparison.run(progress.update)
    title = f"{arguments.scenario}, {arguments.episodes} drops, seed {arguments.seed}"
    Console().print(policy_table(title, results["score"], results["kpis"]))
    return results
