"""`networld baseline`: train learned policies to compare with, from a data set or in the simulator."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from networld_training.cli import Subparsers, add_command, natural
from networld_training.commands.output import check_files

if TYPE_CHECKING:
    from networld_training.baselines.online_settings import OnlineSettings
    from networld_training.baselines.policy_file import SavedPolicy

METHODS = "bc, iql or dd, from a data set; ippo, mappo or qmix, in the simulator"


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "baseline",
        "Train a learned baseline; an interrupted run is resumed, a finished one left as it is.",
        "networld baseline --task power --method bc --data runs/data/power-mixed --seed 0 "
        "--output runs/baselines/power-bc-0.safetensors",
    )
    parser.add_argument("--task", default="power", help="name of a task")
    parser.add_argument("--method", required=True, help=METHODS)
    parser.add_argument("--data", type=Path, help="folder of a data set: for bc, iql and dd")
    parser.add_argument(
        "--scenario",
        metavar="ID",
        help="where ippo, mappo and qmix play: an id or the name alone; train if not given",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="file of the policy, .safetensors",
    )
    parser.add_argument(
        "--steps",
        type=int,
        help="optimiser steps from a data set; in the simulator slots of single cells",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another hyper-parameter, discount=0.9 say; may be repeated",
    )
    parser.add_argument("--seed", type=natural, default=0, help="of weights, samples and episodes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; return 0."""
    import torch

    from networld_runtime.errors import ConfigError
    from networld_training.baselines.methods import find_method
    from networld_training.baselines.settings import changed
    from networld_training.tasks.registry import find_task

    find_task(arguments.task)
    method = find_method(arguments.method)
    problems = []
    if arguments.output.suffix != ".safetensors":
        problems.append(f"--output {arguments.output}: expected a name that ends in .safetensors")
    if method.online and arguments.data is not None:
        problems.append(f"--data: {arguments.method} plays in the simulator; leave it out")
    if not method.online and arguments.data is None:
        problems.append(f"--data: {arguments.method} learns from a data set; name its folder")
    if not method.online and arguments.scenario is not None:
        problems.append(f"--scenario: {arguments.method} learns from a data set; leave it out")
    if problems:
        raise ConfigError("baseline", problems)
    check_files(arguments, "output")
    changes = arguments.set + ([f"steps={arguments.steps}"] if arguments.steps is not None else [])
    settings = changed(method.settings_of(arguments.task), changes)

    torch.set_num_threads(1)  # small networks: more threads wait for each other
    train = _online if method.online else _offline
    policy = train(arguments, settings)
    origin = policy.origin
    print(f"policy: {arguments.output}")
    print(
        f"{origin.method} of task {origin.task}, seed {origin.seed}: weights of step {policy.steps}, "
        f"{policy.environment_steps} environment steps"
    )
    return 0


def _offline(arguments: argparse.Namespace, settings: object) -> SavedPolicy:
    from networld_training.baselines.policy_file import finished_policy
    from networld_training.baselines.training import OfflineTraining, origin_of
    from networld_training.baselines.trajectories import load_data
    from networld_training.progress import reporting

    data = load_data(arguments.data, arguments.task)
    origin = origin_of(arguments.method, data, settings, arguments.seed)
    if arguments.output.exists():
        return finished_policy(arguments.output, origin)
    training = OfflineTraining(arguments.output, arguments.method, data, settings, arguments.seed)
    with reporting(arguments.method, training.settings.steps, training.step) as progress:
        return training.run(progress.update)


def _online(arguments: argparse.Namespace, settings: OnlineSettings) -> SavedPolicy:
    from importlib.util import find_spec

    from networld_runtime.errors import ConfigError
    from networld_training.baselines.policy_file import finished_policy
    from networld_training.progress import reporting
    from networld_training.tasks.registry import find_scenario

    if find_spec("benchmarl") is None:
        raise ConfigError(
            arguments.method,
            "needs BenchMARL, which is not installed here; `make baselines` makes an environment "
            "with it, whose command is .venv-baselines/bin/networld",
        )
    from networld_training.baselines.online import OnlineTraining, origin_of

    text = arguments.scenario or "train"
    scenario = find_scenario(text if "/" in text else f"{arguments.task}/{text}")
    if scenario.task != arguments.task:
        raise ConfigError("--scenario", f"{text!r} is one of task {scenario.task!r}")
    origin = origin_of(arguments.method, scenario, settings, arguments.seed)
    if arguments.output.exists():
        return finished_policy(arguments.output, origin)
    training = OnlineTraining(
        arguments.output, arguments.method, scenario, settings, arguments.seed
    )
    with reporting(arguments.method, training.total_steps, training.steps) as progress:
        return training.run(progress.update)
