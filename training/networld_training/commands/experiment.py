"""`networld experiment`: train what an experiment needs, judge its variants, write table and picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_runtime.errors import NetWorldError
from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "experiment",
        "Compare the variants of an experiment's file; trains models whose results are not known, goes on "
        "where it stopped.",
        "networld experiment benchmarks/experiments/modes.toml",
    )
    parser.add_argument("file", type=Path, help="the experiment, TOML")
    parser.add_argument(
        "--data", type=Path, default=Path("runs/data"), help="data sets <task>-mixed"
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("runs/models"),
        help="models, made where they are needed",
    )
    parser.add_argument(
        "--baselines",
        type=Path,
        default=Path("runs/baselines"),
        help="learned baselines <task>-<baseline>-<training seed>.safetensors",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="what was judged before, of every policy; results beside the file if not given",
    )
    parser.add_argument(
        "--training-seeds",
        type=int,
        metavar="N",
        help="take the first N training seeds of the file; all if not given",
    )
    parser.add_argument("--device", default="cpu", help="where models are trained: cpu or cuda")
    parser.add_argument("--jobs", type=int, default=1, help="processes that judge; 1 if not given")
    parser.add_argument(
        "--train-only", action="store_true", help="train and export, but do not judge"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run an experiment; return 0. CSV, JSON and picture lie beside its file."""
    from rich.console import Console

    from networld_runtime.bundle import graphs_digest
    from networld_runtime.files import write_atomically
    from networld_training.evaluation.picture import draw_results
    from networld_training.evaluation.results import results_csv, results_json
    from networld_training.evaluation.table import Line, paired_table, policy_table, show
    from networld_training.experiments.judging import Judging
    from networld_training.experiments.models import Workshop
    from networld_training.experiments.plan import first_seeds, read_experiment
    from networld_training.experiments.results_book import ResultsBook
    from networld_training.progress import reporting

    experiment = first_seeds(read_experiment(arguments.file), arguments.training_seeds)
    workshop = Workshop(experiment, arguments.models, arguments.data, arguments.device)
    book = ResultsBook(arguments.results or arguments.file.with_name("results"))
    judging = Judging(experiment, workshop, arguments.baselines, book)
    needed = judging.needed
    workshop.train(needed)
    workshop.distil(needed, _distil)
    workshop.export(needed, _export)
    if arguments.train_only:
        return 0
    with reporting("percent", 100) as progress:
        results = judging.run(arguments.jobs, progress.update)
    against = experiment.variants[0].name
    about = {
        "training_seeds": experiment.training_seeds,
        "bundles": {
            name: graphs_digest(model.bundle)
            for name, model in experiment.models.items()
            if model.bundle is not None
        },
    }
    write_atomically(arguments.file.with_suffix(".csv"), results_csv(results).encode())
    write_atomically(
        arguments.file.with_suffix(".json"), results_json(results, against, about).encode()
    )
    draw_results(results, arguments.file.with_suffix(".png"))
    console = Console()
    console.print(experiment.title)
    for result in results:
        title = f"{result.scenario.id}, {len(result.seeds)} episodes"
        show(console, policy_table(title, result.spec.kpis, map(Line.of, result.rows)))
        show(console, paired_table(result.paired(against)))
    return 0


def _distil(checkpoint: Path, data: list[Path]) -> None:
    _command(checkpoint, "distil", "--checkpoint", str(checkpoint), "--data", *map(str, data))


def _export(checkpoint: Path, bundle: Path) -> None:
    _command(checkpoint, "export", "--checkpoint", str(checkpoint), "--output", str(bundle))


def _command(checkpoint: Path, name: str, *options: str) -> None:
    """Run a command of `networld` on a checkpoint."""
    from networld_training import cli

    if cli.main([name, *options]) != 0:
        raise NetWorldError(str(checkpoint), f"`networld {name}` failed; see above")
