"""`networld data`: simulate logged episodes into a data set, or check one."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "data",
        "Make a data set of logged episodes; an interrupted one is finished.",
        "networld data --output runs/data/power-mixed --episodes 2048",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/data/power-mixed"))
    parser.add_argument("--quality", default="mixed", help="mixed, medium, expert or random")
    parser.add_argument("--episodes", type=int, default=2048)
    parser.add_argument("--shard-episodes", type=int, default=64, help="episodes in one file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verify", action="store_true", help="only check the set in --output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make or verify a data set; return 0."""
    from networld_training.data.dataset import read_manifest, read_shard
    from networld_training.data.generate import GenerationSettings, TrainingFamily, generate
    from networld_training.progress import reporting

    if arguments.verify:
        manifest = read_manifest(arguments.output)
        for shard in manifest.shards:
            read_shard(arguments.output, shard, manifest.contract)
        print(
            f"{manifest.dataset_id}: {len(manifest.shards)} of {manifest.total_shards} shards, "
            f"{sum(shard.episodes for shard in manifest.shards)} episodes, all intact"
        )
        return 0
    settings = GenerationSettings(
        arguments.quality, arguments.episodes, arguments.shard_episodes, arguments.seed
    )
    with reporting("episodes", settings.episodes) as progress:
        generate(arguments.output, settings, TrainingFamily(), progress.update)
    print(f"data set: {arguments.output}")
    return 0
