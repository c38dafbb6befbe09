"""`networld bundle`: the shipped bundle from nothing, scores for one, a look into one, keys, signatures."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_runtime.planner_settings import MODES
from networld_training.cli import Subparsers, add_command, natural

DATA_SETS = {"power": (512, 16), "sched": (512, 16), "sleep": (960, 20)}
"""Episodes and shards of each task's data set; every shard is of one network of the training family."""

SHIPPED = Path("bundles/networld")


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its actions."""
    parser = add_command(
        subparsers,
        "bundle",
        "Make the shipped bundle from nothing, write scores into a bundle, show, lift or sign one, or make "
        "the keys to sign with.",
        "networld bundle make --output bundles/networld",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_make(actions)
    score = add_command(
        actions,
        "score",
        "Write what an experiment found of a bundle's ways to choose an action into it; it must be signed "
        "again.",
        "networld bundle score --output bundles/networld",
    )
    score.add_argument(
        "--experiment",
        type=Path,
        default=Path("benchmarks/experiments/steps.toml"),
        metavar="FILE",
        help="where scores come from; it must have been run",
    )
    show = add_command(
        actions,
        "show",
        "Show the graphs of a bundle.",
        "networld bundle show --output bundles/networld",
    )
    lift = add_command(
        actions,
        "lift",
        "Give a bundle of this format or the one before a version, and golden vectors from its own graphs; "
        "it must be signed again.",
        "networld bundle lift --output bundles/networld --version 2",
    )
    lift.add_argument("--version", type=natural, default=1, metavar="N", help="counter of releases")
    for one in (score, show, lift):
        one.add_argument("--output", type=Path, default=SHIPPED, help="bundle folder")
    keys = add_command(
        actions,
        "keys",
        "Make a pair of keys: NAME.key, which signs bundles and which nobody else may read, and NAME.pub, "
        "which every base station gets.",
        "networld bundle keys --output keys",
    )
    keys.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where both go")
    keys.add_argument("--name", default="networld", help="name of both files")
    sign = add_command(
        actions,
        "sign",
        "Check all files of a bundle and sign its manifest.",
        "networld bundle sign --key keys/networld.key bundles/networld",
    )
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key")
    sign.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle folder")
    parser.set_defaults(run=run)


def _add_make(actions: Subparsers[argparse.ArgumentParser]) -> None:
    parser = add_command(
        actions,
        "make",
        "Make the shipped bundle from nothing: data, training, distillation, export.",
        "networld bundle make --output bundles/networld",
    )
    parser.add_argument("--output", type=Path, default=SHIPPED, help="bundle folder")
    parser.add_argument("--work", type=Path, default=Path("runs/bundle"), help="data and run")
    parser.add_argument("--preset", default="default", help="default, or tiny for a quick try")
    sizes = ", ".join(f"{episodes} of {task}" for task, (episodes, _) in DATA_SETS.items())
    parser.add_argument(
        "--episodes", type=int, help=f"episodes of each data set; {sizes} if not given"
    )
    parser.add_argument(
        "--mode", choices=MODES, default="policy", help="how cells choose actions by default"
    )
    parser.add_argument("--seed", type=natural, default=0)


def run(arguments: argparse.Namespace) -> int:
    """Carry out an action; return 0 if it went well."""
    return _ACTIONS[arguments.action](arguments)


def _make(arguments: argparse.Namespace) -> int:
    """Make a bundle. An interrupted run goes on where it stopped."""
    from networld_training import cli

    steps = make_steps(arguments)
    for number, (title, command) in enumerate(steps.items(), start=1):
        print(f"step {number} of {len(steps)}: {title}")
        code = cli.main(command)
        if code != 0:
            return code
    return 0


def make_steps(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return the commands of `networld` that make the bundle, in order, by what they do.

    Each finishes what an interrupted run of it began, and does nothing where all is done.
    """
    train = arguments.work / "train"
    seed = ["--seed", str(arguments.seed)]
    data = {task: arguments.work / f"data-{task}" for task in DATA_SETS}
    steps = {}
    for task, (usual, shards) in DATA_SETS.items():
        episodes = usual if arguments.episodes is None else arguments.episodes
        command = ["data", "make", "--task", task, "--output", str(data[task])]
        command += ["--episodes", str(episodes), "--shard-episodes", str(-(-episodes // shards))]
        steps[f"data set of {task}"] = [*command, *seed]
    command = ["train", "--data", *map(str, data.values()), "--output", str(train)]
    steps["training"] = [*command, "--preset", arguments.preset, *seed]
    checkpoint = ["--checkpoint", str(train / "checkpoint.safetensors")]
    command = ["distil", *checkpoint, "--data", *map(str, data.values())]
    steps["distillation"] = [*command, "--preset", arguments.preset, *seed]
    command = ["export", *checkpoint]
    steps["export"] = [*command, "--output", str(arguments.output), "--mode", arguments.mode]
    return steps


def _score(arguments: argparse.Namespace) -> int:
    """Write the scores of an experiment into a bundle's manifest."""
    from dataclasses import asdict

    from networld_export.golden import read_manifest, write_manifest
    from networld_runtime.bundle import load_bundle
    from networld_training.experiments.scored_ways import scored_ways

    folder = arguments.output
    scores = scored_ways(arguments.experiment, folder)
    manifest = read_manifest(folder)
    for task, entry in manifest["tasks"].items():
        load_bundle(folder, task)
        entry["scores"] = [asdict(score) for score in scores.get(task, [])]
        print(f"{task}: {len(entry['scores'])} ways have scores")
    write_manifest(folder, manifest)
    return 0


def _lift(arguments: argparse.Namespace) -> int:
    from networld_export.golden import lift_bundle

    lift_bundle(arguments.output, arguments.version)
    print(f"{arguments.output}: version {arguments.version}, with golden vectors; not signed")
    return 0


def _keys(arguments: argparse.Namespace) -> int:
    from networld_runtime.store.signature import write_keys

    private, public = write_keys(arguments.output, arguments.name)
    print(f"private key, keep it secret: {private}")
    print(f"public key, for the trusted_keys of every base station: {public}")
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    from networld_export.signing import sign_bundle

    print(f"signed: {sign_bundle(arguments.bundle, arguments.key)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    import json

    from rich.console import Console
    from rich.table import Table

    from networld_runtime.bundle import MANIFEST, load_bundle
    from networld_runtime.errors import BundleError

    folder = arguments.output
    if not (folder / MANIFEST).is_file():
        raise BundleError(str(folder), f"no {MANIFEST} found; make one with `networld bundle make`")
    manifest = json.loads((folder / MANIFEST).read_text())
    table = Table(
        "task",
        "graph",
        "kB",
        "relative error",
        title=f"{folder}, version {manifest.get('version')}",
    )
    for task, entry in manifest["tasks"].items():
        bundle = load_bundle(folder, task)
        for graph, path in bundle.graphs.items():
            size = f"{path.stat().st_size / 1000:.0f}"
            table.add_row(task, graph, size, f"{entry['graphs'][graph]['parity']:.1e}")
    Console().print(table)
    return 0


_ACTIONS = {
    "make": _make,
    "score": _score,
    "show": _show,
    "lift": _lift,
    "keys": _keys,
    "sign": _sign,
}
