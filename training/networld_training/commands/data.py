"""`networld data`: make a data set of logged episodes, look into one, or check one."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command
from networld_training.commands.output import check_files, check_folder, write_json


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command with its three actions."""
    parser = add_command(
        subparsers,
        "data",
        "Make, inspect or verify a data set of logged episodes.",
        "networld data make --task power --output runs/data/power-mixed",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_make(actions)
    _add_inspect(actions)
    verify = add_command(
        actions,
        "verify",
        "Check every shard and list all that is wrong; ends with 6 if anything is.",
        "networld data verify runs/data/power-mixed",
    )
    verify.add_argument("folder", type=Path, help="the data set")
    verify.set_defaults(run=_verify)


def _add_make(actions: Subparsers[argparse.ArgumentParser]) -> None:
    make = add_command(
        actions,
        "make",
        "Simulate a data set; an interrupted or damaged one is finished.",
        "networld data make --task power --quality medium-expert --output runs/data/power-medium",
    )
    make.add_argument("--output", type=Path, required=True, help="folder of the data set")
    make.add_argument("--task", default="power", help="name of a task")
    make.add_argument(
        "--quality", default="mixed", help="random, medium, expert, medium-expert or mixed"
    )
    make.add_argument(
        "--scenario",
        metavar="ID",
        default="train",
        help="id of a scenario of the task, or its name alone",
    )
    make.add_argument("--episodes", type=int, default=2048, help="episodes of the whole set")
    make.add_argument("--shard-episodes", type=int, default=64, help="episodes in one file")
    make.add_argument("--slots", type=int, help="slots of an episode, instead of the scenario's")
    make.add_argument("--seed", type=int, default=0, help="what the set is drawn from")
    make.add_argument("--json", type=Path, metavar="FILE", help="write what was made to this file")
    make.set_defaults(run=_make)


def _add_inspect(actions: Subparsers[argparse.ArgumentParser]) -> None:
    inspect = add_command(
        actions,
        "inspect",
        "Show what a data set holds: behaviours and their returns, coverage of actions, features.",
        "networld data inspect runs/data/power-mixed --picture power-mixed.png",
    )
    inspect.add_argument("folder", type=Path, help="the data set")
    inspect.add_argument("--picture", type=Path, metavar="FILE", help="draw it into this PNG file")
    inspect.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    inspect.set_defaults(run=_inspect)


def _make(arguments: argparse.Namespace) -> int:
    from networld_runtime.errors import ConfigError
    from networld_training.data.generate import Generation, GenerationSettings
    from networld_training.progress import reporting
    from networld_training.tasks.registry import find_scenario, find_task

    check_files(arguments, "json")
    check_folder("output", arguments.output)
    find_task(arguments.task)
    short = arguments.scenario
    scenario = find_scenario(short if "/" in short else f"{arguments.task}/{short}")
    if scenario.task != arguments.task:
        raise ConfigError(
            "--scenario",
            f"{scenario.id!r} is of task {scenario.task!r}: expected one of task {arguments.task!r}",
        )
    settings = GenerationSettings(
        scenario,
        arguments.quality,
        arguments.episodes,
        arguments.shard_episodes,
        arguments.seed,
        arguments.slots,
    )
    generation = Generation(arguments.output, settings)
    with reporting("episodes", settings.episodes, generation.done) as progress:
        manifest = generation.run(progress.update)
    write_json(arguments.json, manifest.to_json())
    print(f"data set: {arguments.output}")
    shards, networks = len(manifest.shards), len(scenario.networks)
    if shards < networks:
        print(
            f"only {shards} of the {networks} networks of {scenario.id} are in it, one a shard; "
            "make more episodes or smaller shards to have all of them"
        )
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from networld_training.data.inspection import inspect
    from networld_training.data.manifest import read_finished_manifest
    from networld_training.data.picture import draw
    from networld_training.data.tables import tables
    from networld_training.progress import reporting

    check_files(arguments, "json", "picture")
    manifest = read_finished_manifest(arguments.folder)
    with reporting("shards", len(manifest.shards)) as progress:
        found = inspect(arguments.folder, progress.update)
    if arguments.picture is not None:
        draw(found, arguments.picture)
    write_json(arguments.json, found.to_json())
    for table in tables(found):
        Console().print(table)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from networld_training.data.manifest import read_manifest
    from networld_training.data.verification import verify
    from networld_training.progress import reporting

    with reporting("shards", len(read_manifest(arguments.folder).shards)) as progress:
        manifest = verify(arguments.folder, progress.update)
    print(
        f"{manifest.dataset_id}: {len(manifest.shards)} shards, {manifest.episodes} episodes, all intact"
    )
    return 0
