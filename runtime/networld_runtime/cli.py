"""The command of a base station: `networld-agent run`, `check`, `adapt`, `bench` and `bundle`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from networld_runtime.bench.options import add_options
from networld_runtime.errors import INTERRUPTED, BrokerError, NetWorldError
from networld_runtime.store import options as bundle_options

EXIT_CODES = """exit codes:
  0 success   2 usage   3 configuration   4 bundle   5 broker   6 data or state   130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; what a user can mend is shown without a traceback."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        return _COMMANDS[options.command](options)
    except NetWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    from networld_runtime import realtime
    from networld_runtime.agent import Agent
    from networld_runtime.config import load_config
    from networld_runtime.epoch import next_epoch
    from networld_runtime.mqtt_transport import MqttTransport
    from networld_runtime.radio import MqttRadio
    from networld_runtime.report import state
    from networld_runtime.startup import forgive_start, start_model
    from networld_runtime.topics import CellTopics
    from networld_runtime.transport import LastWill

    config = load_config(options.config)
    bundle, planner = start_model(config)
    epoch = next_epoch(config.state.directory)
    cell = config.cell
    topics = CellTopics(cell.site, cell.name)
    will = LastWill(topics.state, state("lost", epoch))
    transport = MqttTransport(config.broker, f"networld-{cell.site}-{cell.name}", will)
    shape = (len(cell.neighbours), bundle.couplings)
    radio = MqttRadio(transport, topics, bundle.contract, shape)
    agent = Agent(config, bundle, planner, transport, radio, epoch)
    if options.parent_pid is not None:
        realtime.watch_parent(options.parent_pid, agent.stop)
    if options.core is not None and not realtime.pin_to_core(options.core):
        logging.getLogger(__name__).warning("cannot run on core %d only", options.core)

    planner.warm_up()
    try:
        transport.connect()
    except BrokerError:
        forgive_start(config)
        raise
    realtime.freeze_garbage_collection()
    # Before this point there is nothing to take back, and the default handlers end us at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    try:
        agent.start()
        ready = {"event": "ready", "site": cell.site, "cell": cell.name, "epoch": epoch}
        print(json.dumps(ready), flush=True)
        agent.run()
    finally:
        agent.finish()
    return 0


def _check(options: argparse.Namespace) -> int:
    from networld_runtime.config import load_config
    from networld_runtime.startup import adaptation_settings, load_model

    config = load_config(options.config)
    bundle, planner = load_model(config)
    adaptation_settings(config, bundle)
    planner.warm_up(runs=1)
    mode = "anytime" if planner.settings.anytime else planner.settings.mode
    print(f"OK: {config.path}, bundle {bundle.name}, task {bundle.contract.task}, mode {mode}")
    return 0


def _adapt(options: argparse.Namespace) -> int:
    from networld_runtime import realtime

    if options.parent_pid is not None:
        realtime.watch_parent(options.parent_pid, lambda: os._exit(1))
    if options.idle:
        realtime.yield_to_others()
    from networld_runtime.adaptation import adapt
    from networld_runtime.adapter_keeper import ADAPTER, LOGS
    from networld_runtime.config import load_config
    from networld_runtime.startup import active_bundle, adaptation_settings

    config = load_config(options.config)
    bundle = active_bundle(config)
    folder = config.state.directory
    logs = options.logs or folder / LOGS
    output = options.output or folder / ADAPTER
    settings = adaptation_settings(config, bundle)
    name, seed = config.cell.name, config.planner.seed
    print(json.dumps(adapt(bundle, name, logs, output, settings, seed).to_json()))
    return 0


def _bench(options: argparse.Namespace) -> int:
    from networld_runtime.bench import command

    return command.run(options)


def _bundle(options: argparse.Namespace) -> int:
    from networld_runtime.store import commands

    return commands.run(options)


_COMMANDS = {"run": _run, "check": _check, "adapt": _adapt, "bench": _bench, "bundle": _bundle}


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
        commands, "run", "plan until SIGTERM or SIGINT", "networld-agent run --config cell.toml"
    )
    run.add_argument("--parent-pid", type=int, metavar="PID", help="stop when this parent is gone")
    run.add_argument("--core", type=int, metavar="N", help="run on this processor core only")
    _add_command(
        commands,
        "check",
        "check configuration and bundle, then exit",
        "networld-agent check --config cell.toml",
    )
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
    bundle_options.add_commands(commands, _add_command)
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
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from networld_runtime.report import software_version

        print(f"networld-agent {software_version()}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
