"""The loop of a cell. Every slot: observe, encode, tell, listen, plan, act."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from networld_runtime import report
from networld_runtime.adapter_keeper import AdapterKeeper
from networld_runtime.bundle import Bundle
from networld_runtime.commands import Command, parse_command
from networld_runtime.config import Config
from networld_runtime.contract import FloatArray
from networld_runtime.episode_log import encode_log
from networld_runtime.epoch import next_epoch
from networld_runtime.errors import ConfigError, MessageError
from networld_runtime.experience import Experience
from networld_runtime.ladder import Ladder
from networld_runtime.log_book import LogBook
from networld_runtime.mesh.authentication import NoSeal, Seal
from networld_runtime.mesh.following import follow
from networld_runtime.mesh.last_heard import LastHeard
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Transport
from networld_runtime.planner_like import PlannerLike
from networld_runtime.radio import Observation, Radio
from networld_runtime.realtime import collect_garbage, monotonic_s, new_epoch
from networld_runtime.reload import Reload, Reloader
from networld_runtime.service_notify import ServiceNotifier
from networld_runtime.shield import Shield
from networld_runtime.store.keeper import BundleKeeper

_log = logging.getLogger(__name__)

POLL_S = 0.2
WAITING_COMMANDS = 16
SILENT_S = 30.0


class Agent:
    """One cell: its planner between its radio and its neighbours.

    Subscribes at once, so make it before the transport is connected.

    Args:
        config: The cell's configuration.
        bundle: The bundle that `planner` runs.
        planner: Encodes and plans.
        transport: Reaches the neighbours.
        radio: Gives observations and takes actions.
        epoch: Number of this boot, from `epoch.next_epoch`.
        reloader: Reads a changed configuration; None if it is read only once.
        notifier: Tells the service manager that the loop goes round.
        seal: Proves who sent a payload; None if nobody asks for it.
    """

    def __init__(
        self,
        config: Config,
        bundle: Bundle,
        planner: PlannerLike,
        transport: Transport,
        radio: Radio,
        epoch: int,
        reloader: Reloader | None = None,
        notifier: ServiceNotifier | None = None,
        seal: Seal | None = None,
    ) -> None:
        cell, contract = config.cell, bundle.contract
        self._slot_s = config.timing.slot_s or contract.slot_s
        self.statistics = report.Statistics(slot_s=self._slot_s)
        self.on_round: Callable[[], None] = _nothing
        """Called after every round of `run`, between slots."""
        self.topics = CellTopics(cell.site, cell.name)
        capacity = config.adaptation.capacity_slots
        self.experience = Experience(contract, cell.neighbours, bundle.couplings, capacity)
        self.collecting = config.adaptation.enabled
        self._config = config
        self._bundle = bundle
        self._contract = contract
        self._planner = planner
        self._ladder = Ladder(planner, Shield(contract, config.shield.largest_change))
        self._transport = transport
        self._radio = radio
        self._boot_epoch = self._epoch = epoch
        self._reloader = reloader
        self._notifier = notifier or ServiceNotifier()
        self._heard_s = monotonic_s()
        self._seal = seal or NoSeal()
        self._last_heard = LastHeard(config.state.directory, self._seal.keys)
        self._neighbours = Neighbours(
            contract,
            cell.neighbours,
            config.timing.maximum_message_age_slots,
            self._slot_s,
            seal=self._seal,
            last_heard=self._last_heard.newest,
            weights=config.mesh.weights,
            age_weight=config.mesh.age_weight,
        )
        self._following = follow(
            config, contract, self._slot_s, self._neighbours, transport, self._seal
        )
        self._book = LogBook(contract, bundle.couplings, cell.neighbours, capacity, self._seal)
        self._book.expect(self._last_heard.newest)
        self._keeper = AdapterKeeper(config, bundle, planner, self._book)
        self._bundles = BundleKeeper(config, bundle, planner)
        self._commands: deque[Command] = deque()
        self._rejected_commands: Counter[str] = Counter()
        self._episode: int | None = None
        self._slot: int | None = None
        self._stopping = False
        self._subscribe()

    def start(self) -> None:
        """Adopt a kept adapter and tell the site that this cell is there."""
        self._keeper.restore()
        self._publish_birth()
        self._publish_retained(self.topics.state, report.state("online", self._boot_epoch))

    def run(self) -> None:
        """Go through slots until `stop` is called."""
        while not self._stopping:
            observation = self.go_round(POLL_S)
            if observation is not None:
                collect_garbage(observation.slot)

    def go_round(self, timeout_s: float) -> Observation | None:
        """Act on the newest observation, if one comes in time, and attend to all else; return it."""
        observation = self.serve(timeout_s)
        self.attend()
        # Also without an observation: a restart makes no radio speak. A call that hangs never gets here.
        self._notifier.alive(self.status)
        self.on_round()
        return observation

    def serve(self, timeout_s: float) -> Observation | None:
        """Act on the newest observation, if one comes in time; return it."""
        observation = self._radio.observe(timeout_s)
        if observation is not None:
            self.tick(observation)
            self._heard_s = observation.arrived_s
        return observation

    @property
    def epoch(self) -> int:
        """Number of this boot."""
        return self._boot_epoch

    @property
    def radio(self) -> Radio:
        """What gives observations and takes actions."""
        return self._radio

    @property
    def bundle(self) -> Bundle:
        """The bundle that the cell acts with."""
        return self._bundle

    @property
    def slot(self) -> int | None:
        """The slot that the loop is in or was in last, None before the first."""
        return self._slot

    def request_reload(self) -> None:
        """Have the configuration read again; may be called from a signal handler."""
        if self._reloader is not None:
            self._reloader.request()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping

    def stop(self) -> None:
        """End `run` after the slot it is in; may be called from a signal handler."""
        self._stopping = True

    def finish(self) -> None:
        """End a running adaptation, give the radio back, say that the cell is offline and leave."""
        self._keeper.stop()
        self._last_heard.flush()
        self._radio.close()
        self._bundles.stop(ended_well=self._stopping)
        self._publish_retained(self.topics.state, report.state("offline", self._boot_epoch))
        self._transport.close()

    def tick(self, observation: Observation) -> None:
        """Go through one slot.

        The message goes out before the plan is made and before the action: who waits for the actions
        of all cells to begin the next slot can be sure that all messages were sent before.
        """
        started_s = monotonic_s()
        self._begin_slot(observation)
        latent = self._ladder.encode(observation.values, observation.deadline_s)
        self._tell(observation, latent)
        mean_field = self._neighbours.mean_field(observation.slot)
        deadline_s = observation.deadline_s
        action = self._ladder.plan(latent, mean_field, observation.mask, deadline_s)
        self._radio.act(observation, action)
        self._measure(observation, started_s)
        self._planner.draw_ahead()
        self._keeper.saw(observation.utility)
        if self.collecting:
            self._remember(observation)

    def attend(self) -> None:
        """Carry out orders that arrived; go on with an adaptation, a reload and a change of the bundle."""
        for _ in range(len(self._commands)):  # what comes meanwhile must not hold the loop up
            self._obey(self._commands.popleft())
        if self._following is not None:
            self._following.poll()
        # Without keys nothing is kept, and nothing need be gathered in every slot.
        if self._seal.keys and self._last_heard.keep(self._neighbours.last_heard()):
            self._book.expect(self._last_heard.newest)
        outcome = self._keeper.poll()
        if outcome is not None:
            self.statistics.add_adaptation(outcome)
            self._report(outcome)
        reload = self._reloader.poll() if self._reloader is not None else None
        if reload is not None:
            self._take(reload)
        counters = self.statistics.counters
        change = self._bundles.poll(
            counters["slots"], counters["deadlines_missed"], self._ladder.slots_below
        )
        if change is not None:
            if change.model is not None:
                self._act_with(*change.model)
            self._report(change.report)

    def counters(self) -> dict[str, Any]:
        """Return all counters as plain JSON data."""
        return {
            **self.statistics.to_json(),
            **report.neighbours(self._neighbours.liveness()),
            "messages_received": self._neighbours.received,
            "messages_rejected": self._neighbours.rejected(),
            "message_bytes_received": self._neighbours.received_bytes,
            "message_ages_slots": {
                str(age): count for age, count in sorted(self._neighbours.ages_slots.items())
            },
            "neighbours_heard": len(self._neighbours.names) - len(self._neighbours.missing),
            "discovery_rejected": (
                {} if self._following is None else dict(self._following.discovery.rejected)
            ),
            "logs_rejected": self._book.rejected(),
            "ladder": {
                "level": self._ladder.level,
                "rung": self._ladder.rung,
                "reason": self._ladder.reason,
                "slots": dict(self._ladder.slots),
            },
            "model_failures": dict(self._ladder.failures),
            "actions_limited": self._ladder.shield.counters["limited"],
            "plans_cut": self._ladder.plans_cut,
            "commands_rejected": dict(self._rejected_commands),
            "radio": dict(self._radio.counters),
            "transport": dict(self._transport.counters),
            "experience_slots": len(self.experience),
            "collecting": self.collecting,
            "reloads": dict(self._reloader.counters) if self._reloader is not None else {},
            "adapted": self._keeper.adapted,
            "bundle": self._bundle.digest,
            "bundle_state": self._bundles.state,
        }

    def _take(self, reload: Reload) -> None:
        """Go on with another configuration, and with its planner if it has one."""
        config = reload.config
        if config.adaptation.enabled != self._config.adaptation.enabled:
            self.collecting = config.adaptation.enabled
        self._config = config
        self._neighbours.limit_age(config.timing.maximum_message_age_slots)
        self._neighbours.weigh(config.mesh.weights, config.mesh.age_weight)
        self._ladder.shield.largest_change = config.shield.largest_change
        self._keeper.go_on_with(config, reload.planner)
        self._bundles.go_on_with(config, reload.planner)
        if reload.planner is not None:
            self._planner = reload.planner
            self._ladder.go_on_with(reload.planner)
        if self._seal.keys or reload.seal.keys:
            self._go_on_with_keys(reload.seal)

    def _go_on_with_keys(self, seal: Seal) -> None:
        """Prove and check with the keys as they are in their files now."""
        self._seal = seal
        self._last_heard.keep(self._neighbours.last_heard())
        self._last_heard.go_on_with(seal.keys)
        self._neighbours.go_on_with(seal, self._last_heard.newest)
        if self._following is not None:
            self._following.discovery.open_birth = seal.open_birth
        self._book.go_on_with(seal)
        self._book.expect(self._last_heard.newest)
        self._publish_birth()

    def status(self) -> str:
        """Return in a few words how it goes, for the service manager."""
        slots, missed = (self.statistics.counters[key] for key in ("slots", "deadlines_missed"))
        silent_s = monotonic_s() - self._heard_s
        silence = f"; the radio is silent for {silent_s:.0f} s" if silent_s > SILENT_S else ""
        return f"{slots} slots, {missed} deadlines missed{silence}"

    def _act_with(self, bundle: Bundle, planner: PlannerLike) -> None:
        """Go on with another bundle of the same contract, and with an adapter of its own."""
        self._bundle, self._planner = bundle, planner
        planner.reset()
        self._ladder.go_on_with(planner)
        self._keeper.change_bundle(bundle, planner)
        if self._reloader is not None:
            self._reloader.change_bundle(bundle)
        self._publish_birth()

    def _begin_slot(self, observation: Observation) -> None:
        restarted = self._slot is not None and observation.slot <= self._slot
        if restarted:  # the radio did; what we send must be newer than before all the same
            self._renew_epoch()
            self._neighbours.forget()
            self.experience.clear()
            self._book.clear()
            self._keeper.forget_utilities()
        if restarted or observation.episode != self._episode:
            self._planner.reset()
            self._neighbours.begin_episode(observation.slot)
        elif self._slot is not None:
            self.statistics.counters["slots_skipped"] += observation.slot - self._slot - 1
        self._episode, self._slot = observation.episode, observation.slot

    def _renew_epoch(self) -> None:
        try:
            self._epoch = next_epoch(self._config.state.directory)
        except ConfigError:  # a full disk must not stop the loop
            self._epoch = new_epoch(self._epoch)

    def _tell(self, observation: Observation, latent: FloatArray | None) -> None:
        if latent is None:
            return
        told = latent[: self._contract.message_size]
        message = MeanFieldMessage(self._epoch, observation.slot, told, observation.utility)
        receivers = self._config.authentication.receivers
        if receivers is None:
            receivers = self._neighbours.names
        payload = encode(message, self._contract, self._config.mesh.message_bits)
        payload = self._seal.close(payload, receivers)
        sent = self._transport.publish(self.topics.message, payload)
        self.statistics.counters["messages_sent" if sent else "messages_not_sent"] += 1
        self.statistics.message_bytes[len(payload)] += 1

    def _measure(self, observation: Observation, started_s: float) -> None:
        """Count the slot, and whether the action was decided before the deadline."""
        now_s = monotonic_s()
        counters = self.statistics.counters
        counters["slots"] += 1
        counters["deadlines_missed"] += now_s > observation.deadline_s
        counters["slots_with_missing_neighbours"] += bool(self._neighbours.missing)
        self.statistics.add_missing(self._neighbours.missing)
        self.statistics.add_tick(now_s - started_s, now_s - observation.deadline_s)

    def _remember(self, observation: Observation) -> None:
        if observation.coupling is not None and np.isfinite(observation.values).all():
            self.experience.add(
                observation.episode,
                observation.slot,
                observation.values,
                observation.coupling,
                observation.mask,
            )

    def _subscribe(self) -> None:
        site = self._config.cell.site
        self._transport.subscribe(
            {
                CellTopics(site, name).message: partial(self._neighbours.receive, name)
                for name in self._config.cell.neighbours
            },
            fresh=True,
        )
        self._transport.subscribe(
            {
                CellTopics(site, name).log: partial(self._book.receive, name)
                for name in self._config.cell.neighbours
            },
            reliable=True,
            fresh=True,
        )
        self._transport.subscribe(
            {self.topics.command: self._receive_command}, reliable=True, fresh=True
        )

    def _receive_command(self, payload: bytes) -> None:
        """Take an order from the network thread; the loop carries it out."""
        try:
            if len(self._commands) >= WAITING_COMMANDS:
                raise MessageError("too_many", f"{WAITING_COMMANDS} are waiting")
            self._commands.append(parse_command(payload))
        except MessageError as error:
            self._rejected_commands[error.reason] += 1

    def _obey(self, command: Command) -> None:
        problem = None
        answer: dict[str, Any] = {}
        if command.name == "adapt":
            logs = self.experience.logs(self._epoch)
            problem = self._keeper.begin(logs, command.identifier)
            if problem is None:
                for log in logs:
                    payload = self._seal.sign_log(encode_log(log, self._contract))
                    self._transport.publish(self.topics.log, payload, reliable=True)
                return  # the report comes when the training has ended
        elif command.name == "base":
            problem = self._keeper.drop()
        elif command.name == "revert":
            problem = self._keeper.revert()
        elif command.name == "collect":
            self.collecting = command.on
        elif command.name == "report":
            answer = {"counters": self.counters()}
        elif command.name == "stop":
            self.stop()
        if problem is not None:
            answer = {"problem": problem}
        self._report(
            {"report": command.name, "id": command.identifier, "ok": problem is None, **answer}
        )

    def _report(self, data: dict[str, Any]) -> None:
        _log.info("report %s", data["report"])
        payload = report.to_bytes({**data, "epoch": self._boot_epoch})
        self._transport.publish(self.topics.report, payload, reliable=True)

    def _publish_birth(self) -> None:
        birth = report.birth(self._config.cell, self._bundle, self._boot_epoch, self._slot_s)
        self._publish_retained(self.topics.birth, self._seal.sign_birth(birth))

    def _publish_retained(self, topic: str, payload: bytes) -> None:
        self._transport.publish(topic, payload, reliable=True, retain=True)


def _nothing() -> None:
    """Stand in where nobody watches."""
