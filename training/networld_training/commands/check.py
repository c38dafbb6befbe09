"""`networld check`: put a task or a PettingZoo environment to the conformance suite."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from networld_training.cli import Subparsers, add_command, natural
from networld_training.commands.output import check_files, write_json

if TYPE_CHECKING:
    from networld_training.conformance import Report
    from networld_training.tasks.base import Task
    from networld_training.tasks.network import Network


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "check",
        "Check that a task or a PettingZoo environment keeps its promises; ends with 1 if not.",
        "networld check docs/examples/carrier.py:CarrierTask --slots 20",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="name of a task, or package.module:Class or file.py:Class of a Task or ParallelEnv",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--network", type=Path, metavar="FILE", help="JSON file with the network's attributes"
    )
    where.add_argument(
        "--scenario", metavar="ID", help="id of a scenario; its network for --seed is taken"
    )
    parser.add_argument("--slots", type=int, help="shorten the episodes to this many slots")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the first episode")
    parser.add_argument(
        "--pettingzoo", action="store_true", help="the target makes a ParallelEnv when called"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings to this file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; return 0 if nothing failed, else 1."""
    check_files(arguments, "json")
    report = _checked(arguments)
    write_json(arguments.json, report.to_json())
    _show(report)
    return 1 if report.failures else 0


def _checked(arguments: argparse.Namespace) -> Report:
    from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

    from networld_runtime.errors import ConfigError
    from networld_training.conformance import check_parallel_env, check_task
    from networld_training.conformance.suite import ENVIRONMENT_CHECKS, TASK_CHECKS
    from networld_training.own_code import load_object
    from networld_training.progress import reporting
    from networld_training.tasks.base import Task
    from networld_training.tasks.registry import TASKS

    text = arguments.target
    if text not in TASKS and ":" not in text:
        raise ConfigError(
            "target",
            f"{text!r}: expected the name of a task ({', '.join(TASKS)}), package.module:Class or "
            "file.py:Class",
        )
    found = TASKS[text].make if text in TASKS else load_object(text)
    if isinstance(found, type) and issubclass(found, Task):
        network = _network(arguments, found)
        with reporting("checks", len(TASK_CHECKS)) as progress:
            return check_task(found, network, arguments.seed, progress.update)
    if arguments.pettingzoo or (isinstance(found, type) and issubclass(found, ParallelEnv)):
        options = [o for o in ("network", "scenario", "slots") if getattr(arguments, o) is not None]
        if options:
            raise ConfigError(f"--{options[0]}", "is for tasks; an environment has its own network")
        if not callable(found):
            raise ConfigError(text, f"is {found!r:.60}: expected a class or function to call")
        with reporting("checks", len(ENVIRONMENT_CHECKS)) as progress:
            return check_parallel_env(found, arguments.seed, progress.update)
    raise ConfigError(
        text,
        f"is {found!r:.60}: expected a subclass of Task or of PettingZoo's ParallelEnv "
        "(--pettingzoo for a function that makes one)",
    )


def _network(arguments: argparse.Namespace, make: type[Task]) -> Network:
    from dataclasses import replace

    from networld_runtime.errors import ConfigError
    from networld_training.tasks.network_file import make_network, network_type, read_values
    from networld_training.tasks.registry import find_scenario

    kind = network_type(make)
    if arguments.network is not None:
        values = read_values(arguments.network)
        task = values.pop("task", make.spec.name)  # as in the files of `networld evaluate`
        if task != make.spec.name:
            raise ConfigError(
                str(arguments.network), f"task = {task!r}: expected {make.spec.name!r}"
            )
        network = make_network(kind, values, str(arguments.network))
    elif arguments.scenario is not None:
        network = find_scenario(arguments.scenario).network_of(arguments.seed)
        if not isinstance(network, kind):
            raise ConfigError("--scenario", f"{arguments.scenario} is not one of {make.__name__}")
    else:
        network = make_network(kind, {}, f"network of {make.__name__}")
    return network if arguments.slots is None else replace(network, slots=arguments.slots)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "failed": "bold red", "not applicable": "dim"}
    table = Table(title=report.target, title_justify="left")
    for heading in ("check", "result", "found"):
        table.add_column(heading, no_wrap=heading != "found")
    for finding in report.findings:
        result = Text(finding.result, style=colours[finding.result])
        table.add_row(finding.check, result, Text(finding.said))
    console = Console()
    console.print(table)
    if report.failures:
        console.print(Text(str(report)))
