"""`networld-agent run`: from a configuration to a cell that acts, and back to nothing."""

from __future__ import annotations

import argparse
import json
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

from networld_runtime import realtime
from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.epoch import next_epoch
from networld_runtime.errors import BrokerError, BundleError, ConfigError
from networld_runtime.mesh.authentication import make_seal
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.network_loop import NetworkLoop
from networld_runtime.mesh.recorder import Recorder
from networld_runtime.mesh.replay import RecordingTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import LastWill, Transport
from networld_runtime.planner import Planner
from networld_runtime.radio_kinds import make_radio
from networld_runtime.reload import Reloader
from networld_runtime.report import state
from networld_runtime.service_notify import ServiceNotifier
from networld_runtime.startup import forgive_start, start_model
from networld_runtime.watch.log_lines import utc_text
from networld_runtime.watch.running import Watchers

_log = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Act until a signal says to stop; return 0.

    With `--cells` there are several in this process: `running_cells`.

    Raises:
        NetWorldError: The configuration, the bundle, the radio or the broker stands against it.
    """
    if options.cells:
        from networld_runtime import running_cells  # noqa: PLC0415

        return running_cells.run(options)
    notifier = ServiceNotifier.from_environment()
    notifier.status("checking configuration and bundle")
    read = partial(load_config, options.config, options.changes)
    config = read()
    watchers = Watchers(config)
    signal.signal(signal.SIGTERM, end_start)
    with _forgiving(config, SystemExit, KeyboardInterrupt, BrokerError):
        model = start_model(config)
        with _forgiving(config, ConfigError):
            recorder = (
                None if options.record is None else Recorder(options.record, config.cell.site)
            )
            agent, transport = make_cell(config, model, read, watchers, notifier, recorder=recorder)
            settle(options, agent)
        try:
            _warm_up_and_connect(model[1], transport, notifier, watchers)
        except BaseException:
            agent.radio.close()
            raise
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    try:
        agent.start()
        say_ready(config, agent)
        notifier.ready("waiting for the radio")
        agent.run()
    finally:
        notifier.stopping()
        watchers.finish()
        agent.finish()
        if recorder is not None:
            recorder.close()
    return 0


def end_start(*_: object) -> NoReturn:
    """End a start; what is done is undone on the way."""
    raise SystemExit(0)


@contextmanager
def _forgiving(config: Config, *reasons: type[BaseException]) -> Iterator[None]:
    """Count no start against the bundle that ends for one of these reasons."""
    try:
        yield
    except reasons:
        try:
            forgive_start(config)
        except BundleError as error:  # it must not hide why the start ended
            _log.warning("a start that is no fault of the bundle cannot be noted: %s", error)
        raise


def make_cell(
    config: Config,
    model: tuple[Bundle, Planner],
    read: Callable[[], Config],
    watchers: Watchers,
    notifier: ServiceNotifier,
    loop: NetworkLoop | None = None,
    recorder: Recorder | None = None,
) -> tuple[Agent, Transport]:
    """Make a cell and the connection that it will have; nothing is connected yet.

    Args:
        config: Its configuration.
        model: The bundle and its planner.
        read: Reads the configuration again.
        watchers: Watch it from now on.
        notifier: Tells the service manager that it goes round.
        loop: Serves its connection beside those of others; None gives it one of its own.
        recorder: Records all that it hears and says; None records nothing.

    Raises:
        ConfigError: The state folder, the password, a key or the radio stands against it.
    """
    bundle, planner = model
    seal = make_seal(config)
    epoch = next_epoch(config.state.directory)
    cell = config.cell
    will = LastWill(CellTopics(cell.site, cell.name).state, state("lost", epoch))
    transport: Transport = MqttTransport(
        config.broker, f"networld-{cell.site}-{cell.name}", will, loop
    )
    if recorder is not None:
        transport = RecordingTransport(transport, recorder)
    radio = make_radio(config, bundle, transport)
    reloader = Reloader(config, bundle, read)
    agent = Agent(config, bundle, planner, transport, radio, epoch, reloader, notifier, seal)
    watchers.attach(agent, transport, epoch, planner.provider)
    return agent, transport


def say_ready(config: Config, agent: Agent) -> None:
    """Print the line that says that a cell acts from now on."""
    ready = {"time": utc_text(), "level": "info", "event": "ready", "epoch": agent.epoch}
    who = {"site": config.cell.site, "cell": config.cell.name}
    print(json.dumps({**ready, **who}), flush=True)


def settle(options: argparse.Namespace, *agents: Agent) -> None:
    """Obey what the command line says of the process that cells run in, and SIGHUP."""

    def reload() -> None:
        for agent in agents:
            agent.request_reload()

    def stop() -> None:
        for agent in agents:
            agent.stop()

    signal.signal(signal.SIGHUP, lambda *_: reload())
    if options.parent_pid is not None:
        realtime.watch_parent(options.parent_pid, stop)
    if options.core is not None and not realtime.pin_to_core(options.core):
        _log.warning("cannot run on core %d only", options.core)


def _warm_up_and_connect(
    planner: Planner, transport: Transport, notifier: ServiceNotifier, watchers: Watchers
) -> None:
    """Warm the model up and reach the broker.

    Raises:
        BrokerError: The broker cannot be reached.
    """
    notifier.status("warming up")
    watchers.watch.enter("warming")
    planner.warm_up()
    notifier.status("connecting to the broker")
    watchers.watch.enter("connecting")
    transport.connect()
    realtime.freeze_garbage_collection()
