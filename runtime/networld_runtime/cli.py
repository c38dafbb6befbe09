"""The command of a base station: `networld-agent run`, `check`, `config`, `adapt`, `status` and others."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from networld_runtime.bench.options import add_options
from networld_runtime.errors import INTERRUPTED, NetWorldError
from networld_runtime.exit_codes import summary
from networld_runtime.store import options as bundle_options
from networld_runtime.watch.commands import add_parsers

EXIT_CODES = summary()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; what a user can mend is shown without a traceback."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "check" and not (options.files or options.config):
        parser.error("check: name at least one configuration file")
    if options.command == "run" and options.cells and options.record:
        parser.error("run: --record is for one cell; `networld mesh --record` hears all of them")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else NumPy starts a thread for each core
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        handler = _COMMANDS.get(options.command) or options.handler
        code = int(handler(options))
        sys.stdout.flush()
        return code
    except NetWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `| head`, say: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    from networld_runtime import running_cell

    return running_cell.run(options)


def _check(options: argparse.Namespace) -> int:
    """Print a block for every file and return the highest exit code."""
    return max(_check_file(path, options.changes) for path in [*options.files, *options.config])


def _check_file(path: Path, changes: Sequence[str]) -> int:
    from networld_runtime.config import MQTT
    from networld_runtime.config_reader import load_config
    from networld_runtime.mesh.authentication import make_seal
    from networld_runtime.mesh.broker_tls import check_files
    from networld_runtime.radio_kinds import find_maker
    from networld_runtime.startup import (
        adaptation_settings,
        as_this_computer_can,
        load_model,
        provider_note,
    )

    try:
        config = load_config(path, changes)
        check_files(config.broker)
        bundle, planner = load_model(as_this_computer_can(config))
        adaptation_settings(config, bundle)
        make_seal(config)
        if config.radio.kind != MQTT:
            find_maker(config)  # not made: the radio may be in use by the cell that runs
        planner.warm_up(runs=1)
    except NetWorldError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    mode = "anytime" if planner.settings.anytime else planner.settings.mode
    place = f"{config.path}, bundle {bundle.name}"
    print(f"OK: {place}, task {bundle.contract.task}, mode {mode}", flush=True)
    note = provider_note(config)
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
    return 0


def _config(options: argparse.Namespace) -> int:
    from networld_runtime import config_command

    return config_command.run(options)


def _bench(options: argparse.Namespace) -> int:
    from networld_runtime.bench import command

    return command.run(options)


def _adapt(options: argparse.Namespace) -> int:
    from networld_runtime import realtime

    if options.parent_pid is not None:
        realtime.watch_parent(options.parent_pid, lambda: os._exit(1))
    if options.idle:
        realtime.yield_to_others()
    from networld_runtime.adaptation import adapt
    from networld_runtime.adapter_history import BY_HAND, AdapterHistory
    from networld_runtime.adapter_keeper import LOGS
    from networld_runtime.config_reader import load_config
    from networld_runtime.errors import DataError
    from networld_runtime.startup import active_bundle, adaptation_settings

    config = load_config(options.config, options.changes)
    bundle = active_bundle(config)
    folder = config.state.directory
    logs = options.logs or folder / LOGS
    history = AdapterHistory(folder)
    output = options.output or folder / BY_HAND
    settings = adaptation_settings(config, bundle)
    name, seed = config.cell.name, config.planner.seed
    report = adapt(bundle, name, logs, output, settings, seed)
    if report.accepted and options.output is None:
        try:
            history.replace(output)  # the one in use before stays in the history
        except OSError as error:
            raise DataError(
                str(history.current), f"cannot be written ({error.strerror})"
            ) from error
    print(json.dumps(report.to_json()))
    return 0


def _bundle(options: argparse.Namespace) -> int:
    from networld_runtime.store import commands

    return commands.run(options)


def _identity(options: argparse.Namespace) -> int:
    from networld_runtime.mesh import identity_command

    return identity_command.run(options)


_COMMANDS = {
    "run": _run,
    "check": _check,
    "config": _config,
    "adapt": _adapt,
    "bench": _bench,
    "bundle": _bundle,
    "identity": _identity,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="networld-agent",
        description="A NetWorld cell: acts in each slot, talks to its neighbours, adapts.",
        epilog=f"example:\n  networld-agent check --config cell.toml\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = _add_command(
        commands,
        "run",
        "plan until SIGTERM or SIGINT",
        "networld-agent run --config cell.toml",
        config=False,
    )
    which = run.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", type=Path, metavar="FILE", help="the cell's TOML file")
    which.add_argument(
        "--cells",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="the TOML files of several cells, which share this process",
    )
    _add_changes(run)
    run.add_argument("--parent-pid", type=int, metavar="PID", help="stop when this parent is gone")
    run.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="record all that the cell hears and says in a new file; `networld mesh --replay` shows it",
    )
    run.add_argument("--core", type=int, metavar="N", help="run on this processor core only")
    check = _add_command(
        commands,
        "check",
        "check configurations and their bundles, then exit",
        "networld-agent check edge_configs/*.toml",
        config=False,
    )
    check.add_argument("files", type=Path, nargs="*", metavar="FILE", help="a cell's TOML file")
    check.add_argument(
        "--config", type=Path, action="append", default=[], metavar="FILE", help="the same"
    )
    _add_changes(check)
    _add_config_commands(commands)
    adapt = _add_command(
        commands,
        "adapt",
        "train an adapter on the logs of a cell and its neighbours and print a report",
        "networld-agent adapt --config cell.toml --output adapter.safetensors",
    )
    adapt.add_argument(
        "--logs",
        type=Path,
        metavar="FILE",
        help="logs that the cell gathered (default: logs.msgpack in state.directory)",
    )
    adapt.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where an accepted adapter goes (default: adapter.safetensors in state.directory)",
    )
    adapt.add_argument("--idle", action="store_true", help="run when nothing else wants to")
    adapt.add_argument("--parent-pid", type=int, metavar="PID", help="end when this parent is gone")
    add_options(
        _add_command(
            commands,
            "bench",
            "measure how fast a bundle plans on this computer and write a report",
            "networld-agent bench --bundle bundles/networld --quick --json bench.json",
            config=False,
        )
    )
    add_parsers(commands, _add_command)
    bundle_options.add_commands(commands, _add_command)
    _add_identity_commands(commands)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    purpose: str,
    example: str,
    *,
    config: bool = True,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"example:\n  {example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if config:
        parser.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="the cell's TOML file"
        )
        _add_changes(parser)
    return parser


def _add_config_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "config",
        "show what a cell is told, by whom, and all that it can be told",
        "networld-agent config show --config cell.toml --origin",
        config=False,
    )
    parts = parser.add_subparsers(dest="config_command", required=True, metavar="show|keys")
    show = _add_command(
        parts,
        "show",
        "print every key with the value that counts",
        "networld-agent config show --config cell.toml --origin",
    )
    show.add_argument("--origin", action="store_true", help="say where each value comes from")
    show.add_argument("--json", action="store_true", help="print JSON")
    _add_command(
        parts,
        "keys",
        "print a table of all keys: type, range, default, whether SIGHUP reloads it",
        "networld-agent config keys",
        config=False,
    )


def _add_identity_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "identity",
        "make the keys that a cell proves its messages with",
        "networld-agent identity make --output /etc/networld/keys --name cell-0",
        config=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="make|show")
    make = _add_command(
        actions,
        "make",
        "make NAME.key, which nobody else may read, and NAME.pub, which every cell of the site gets, and "
        "print the latter",
        "networld-agent identity make --output /etc/networld/keys --name cell-0",
        config=False,
    )
    make.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where both files go"
    )
    make.add_argument("--name", required=True, help="name of the cell")
    show = _add_command(
        actions,
        "show",
        "print the public half of a private key",
        "networld-agent identity show /etc/networld/keys/cell-0.key",
        config=False,
    )
    show.add_argument("key", type=Path, metavar="FILE", help="the private key")


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="TABLE.KEY=VALUE",
        help="give a key another value; may be repeated",
    )


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from networld_runtime.report import software_version

        print(f"networld-agent {software_version()}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
