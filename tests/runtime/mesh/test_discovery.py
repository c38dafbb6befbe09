"""Discovery: the nearest that fit are the neighbours, who is gone gives its place away, and nobody flaps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.discovery import (
    BURST,
    LARGEST_SITE,
    POLL_S,
    Discovery,
    Membership,
    Wanted,
)
from networld_runtime.mesh.following import Following
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import LastWill, MemoryBus, MemoryTransport
from networld_runtime.report import state

SILENT_S = 5.0
SLOT_S = 0.1


class Site:
    """One cell `a` at the origin that looks for two neighbours, and others on its bus."""

    def __init__(self, contract: Contract, most: int = 2, range_m: float | None = 1000) -> None:
        self.contract = contract
        self.now_s = 0.0
        self.slot = 0
        self.bus = MemoryBus()
        self.transport = MemoryTransport(self.bus)
        self.others: dict[str, MemoryTransport] = {}
        self.speaking: dict[str, int] = {}
        self.neighbours = Neighbours(contract, (), 3, SLOT_S, clock=lambda: self.now_s)
        wanted = Wanted(
            site="test",
            cell="a",
            contract=contract.digest().hex(),
            slot_s=SLOT_S,
            position_m=(0, 0),
            most=most,
            range_m=range_m,
            silent_s=SILENT_S,
        )
        self.discovery = Discovery(wanted, lambda: self.now_s)
        self.following = Following(self.discovery, self.neighbours, self.transport, "test")

    def birth(self, name: str, x_m: float, epoch: int = 1, **changes: Any) -> None:
        """Let a cell connect, be born and speak from now on."""
        topics = CellTopics("test", name)
        data = {
            "version": 1,
            "epoch": epoch,
            "cell": name,
            "contract": self.contract.digest().hex(),
            "slot_s": SLOT_S,
            "position_m": [x_m, 0],
            **changes,
        }
        other = MemoryTransport(self.bus, LastWill(topics.state, state("lost", epoch)))
        other.connect()
        other.publish(topics.birth, json.dumps(data).encode(), retain=True)
        other.publish(topics.state, state("online", epoch), retain=True)
        self.others[name], self.speaking[name] = other, epoch

    def pass_s(self, seconds: float) -> None:
        """Let time go by, slot by slot."""
        for _ in range(round(seconds / SLOT_S)):
            self.now_s += SLOT_S
            self.slot += 1
            for name, epoch in self.speaking.items():
                values = np.zeros(self.contract.message_size, dtype=np.float32)
                payload = encode(MeanFieldMessage(epoch, self.slot - 1, values), self.contract)
                self.others[name].publish(CellTopics("test", name).message, payload)
            self.neighbours.mean_field(self.slot)
            self.following.poll()

    def state(self, name: str, status: str, epoch: int = 1) -> None:
        """Publish a state of a cell, as the broker does with a will."""
        self.bus.publish(CellTopics("test", name).state, state(status, epoch), retain=True)

    def names(self) -> tuple[str, ...]:
        """The neighbours now, after the next look."""
        self.pass_s(2 * POLL_S)
        return self.neighbours.names

    @property
    def heard(self) -> set[str]:
        """Neighbours that the last mean field used."""
        return set(self.neighbours.names) - set(self.neighbours.missing)


@pytest.fixture
def site(contract: Contract) -> Site:
    return Site(contract)


def _start(site: Site, *births: tuple[str, float]) -> None:
    for name, x_m in births:
        site.birth(name, x_m)
    site.transport.connect()


def test_the_nearest_that_were_there_before_are_the_neighbours(site: Site) -> None:
    _start(site, ("d", 300), ("b", -100), ("c", 200))
    assert site.names() == ("b", "c")
    assert site.heard == {"b", "c"}
    assert site.discovery.rejected == {}


def test_what_the_broker_had_retained_need_not_stay_for_a_while(site: Site) -> None:
    _start(site, ("c", 200), ("d", 300))
    assert site.names() == ("c", "d")
    earlier = Site(site.contract)
    earlier.birth("b", 100)
    topics = CellTopics("test", "b")
    site.discovery.receive_birth(topics.birth, earlier.bus.retained[topics.birth], True)
    assert site.names() == ("b", "c")


def test_a_retained_birth_of_a_cell_whose_will_came_first_is_no_arrival(site: Site) -> None:
    _start(site, ("c", 200))
    earlier = Site(site.contract)
    earlier.birth("b", 100)
    topics = CellTopics("test", "b")
    site.discovery.receive_state(topics.state, state("lost", 1), True)
    site.discovery.receive_birth(topics.birth, earlier.bus.retained[topics.birth], True)
    assert site.names() == ("c",)
    site.discovery.receive_state(topics.state, state("online", 1), False)
    assert site.names() == ("b", "c")


def test_who_takes_a_place_has_time_to_be_heard(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200), ("d", 300), ("e", 400))
    epoch = site.speaking.pop("d")
    site.pass_s(2 * SILENT_S)
    assert site.names() == ("b", "c")
    del site.speaking["c"]
    site.others["c"].lose()
    assert site.names() == ("b", "d")
    site.pass_s(SILENT_S / 2)
    site.speaking["d"] = epoch
    assert site.names() == ("b", "d")
    site.pass_s(SILENT_S)
    assert site.names() == ("b", "d")


def test_ties_go_by_name(site: Site) -> None:
    _start(site, ("d", 100), ("c", -100), ("b", 100))
    assert site.names() == ("b", "c")


@pytest.mark.parametrize(
    "changes",
    [
        {"contract": "00" * 32},
        {"slot_s": 0.2},
        {"position_m": None},
        {"position_m": [1001, 0]},
        {"position_m": [float("inf"), 0]},
        {"cell": "c"},
        {"version": 2},
    ],
)
def test_who_does_not_fit_is_no_neighbour(site: Site, changes: dict[str, Any]) -> None:
    site.birth("b", 100, **changes)
    _start(site, ("c", 200))
    assert site.names() == ("c",)


def test_a_birth_that_no_longer_fits_ends_it(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200))
    assert site.names() == ("b", "c")
    site.birth("b", 5000, epoch=2)
    assert site.names() == ("c",)


def test_a_lost_cell_gives_its_place_at_once_and_comes_back(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200), ("d", 300))
    assert site.names() == ("b", "c")
    del site.speaking["b"]
    site.others["b"].lose()
    assert site.names() == ("c", "d")
    assert site.heard == {"c", "d"}
    site.birth("b", 100, epoch=2)
    assert site.names() == ("c", "d")  # it must stay for a while
    site.pass_s(SILENT_S)
    assert site.names() == ("b", "c")
    assert site.heard == {"b", "c"}


def test_a_silent_cell_gives_its_place_and_comes_back_when_heard(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200), ("d", 300))
    assert site.names() == ("b", "c")
    epoch = site.speaking.pop("b")  # frozen: no will, and its state says online
    site.pass_s(SILENT_S - 2)
    assert site.names() == ("b", "c")
    site.pass_s(2)
    assert site.names() == ("c", "d")
    assert site.discovery.membership == Membership(("c", "d"), ("b",))
    site.speaking["b"] = epoch
    assert site.names() == ("c", "d")
    site.pass_s(SILENT_S)
    assert site.names() == ("b", "c")


def test_a_cell_that_comes_and_goes_takes_no_place(site: Site) -> None:
    _start(site, ("c", 200), ("d", 300))
    assert site.names() == ("c", "d")
    changes = 0
    for epoch in range(1, 10):
        site.birth("b", 100, epoch=epoch)
        changes += site.names() != ("c", "d")
        site.pass_s(SILENT_S - 3)
        changes += site.names() != ("c", "d")
        del site.speaking["b"]
        site.others["b"].lose()
        changes += site.names() != ("c", "d")
    assert changes == 0


def test_who_comes_takes_a_free_place_at_once(site: Site) -> None:
    _start(site, ("c", 200))
    assert site.names() == ("c",)
    site.birth("b", 100)
    assert site.names() == ("b", "c")


def test_a_will_of_an_older_boot_is_ignored(site: Site) -> None:
    site.birth("b", 100, epoch=5)
    _start(site, ("c", 200), ("d", 300))
    assert site.names() == ("b", "c")
    site.state("b", "lost", epoch=4)
    assert site.names() == ("b", "c")
    assert site.discovery.rejected == {"stale": 1}


def test_a_late_will_of_this_boot_is_mended_by_what_is_heard(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200))
    assert site.names() == ("b", "c")
    site.state("b", "lost")  # of the connection before, while the cell speaks on
    site.pass_s(POLL_S)
    assert site.names() == ("b", "c")


def test_retained_births_of_cells_that_are_gone_bring_nobody_back(site: Site) -> None:
    _start(site, ("c", 200), ("d", 300))
    site.birth("b", 100)
    del site.speaking["b"]
    site.others["b"].lose()
    assert site.names() == ("c", "d")
    late = Site(site.contract)
    late.bus, late.transport = site.bus, MemoryTransport(site.bus)
    late.following = Following(late.discovery, late.neighbours, late.transport, "test")
    late.transport.connect()
    assert late.names() == ("c", "d")


def test_nobody_is_given_up_while_nobody_is_heard(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200), ("d", 300), ("e", 400))
    assert site.names() == ("b", "c")
    speaking, site.speaking = site.speaking, {}
    site.pass_s(10 * SILENT_S)  # our own link is down
    assert site.names() == ("b", "c")
    site.speaking = {"b": speaking["b"]}  # one of them is heard first
    assert site.names() == ("b", "c")
    site.speaking = speaking
    site.pass_s(2 * SILENT_S)
    assert site.names() == ("b", "c")
    del site.speaking["c"]
    site.pass_s(SILENT_S + 1)
    assert site.names() == ("b", "d")


def test_a_dead_cell_that_says_it_is_online_is_passed_over(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200), ("d", 300))
    del site.speaking["b"]
    site.pass_s(SILENT_S + 1)
    assert site.names() == ("c", "d")
    for _ in range(4):  # it says so again and again, but speaks no word
        site.state("b", "online")
        site.pass_s(SILENT_S / 2)
        assert site.names() == ("c", "d")
    site.pass_s(3 * SILENT_S)
    assert site.names() == ("c", "d")


def test_subscriptions_follow(site: Site) -> None:
    _start(site, ("b", 100), ("c", 200), ("d", 300))
    assert site.names() == ("b", "c")

    def heard(name: str) -> bool:
        return CellTopics("test", name).message in site.transport._handlers

    assert [heard(name) for name in "bcd"] == [True, True, False]
    del site.speaking["c"]
    site.others["c"].lose()
    assert site.names() == ("b", "d")
    assert [heard(name) for name in "bcd"] == [True, True, True]  # c is nearer: it may come back
    del site.speaking["d"]
    site.others["d"].lose()
    site.birth("c", 200, epoch=2)
    assert site.names() == ("b", "c")
    assert [heard(name) for name in "bcd"] == [True, True, False]


def test_a_birth_that_does_not_open_is_none(site: Site) -> None:
    def open_birth(sender: str, payload: bytes) -> bytes:
        if sender == "b":
            raise MessageError("unsigned", "no signature")
        return payload

    site.discovery.open_birth = open_birth
    _start(site, ("b", 100), ("c", 200))
    assert site.names() == ("c",)
    assert site.discovery.rejected == {"unsigned": 1}


def test_hostile_topics_and_numbers_of_cells_are_bounded(site: Site) -> None:
    site.transport.connect()
    discovery = site.discovery
    for name in ("B", "", "x" * 40, "a b"):
        discovery.receive_state(f"networld/v1/test/{name}/state", state("online", 1), False)
    assert discovery.rejected == {"name": 4}
    discovery.receive_birth("networld/v1/test/a/birth", b"its own, or one that pretends", False)
    discovery.receive_birth("networld/v1/test/b/birth", b"nonsense", False)
    assert discovery.rejected == {"name": 4, "malformed": 1}
    for index in range(LARGEST_SITE + 3):
        name = f"x{index}"
        payload = json.dumps({"version": 1, "epoch": 1, "contract": "", "slot_s": 0.1}).encode()
        discovery.receive_birth(CellTopics("test", name).birth, payload, False)
    assert discovery.rejected["too_many"] == 3


def test_states_of_cells_that_were_never_born_take_nobodys_place(contract: Contract) -> None:
    site = Site(contract)
    for index in range(LARGEST_SITE + 3):
        topic = CellTopics("test", f"x{index}").state
        site.discovery.receive_state(topic, state("online", 1), False)
    site.transport.connect()
    site.birth("b", 10)
    site.pass_s(1)
    assert site.neighbours.names == ("b",)
    assert site.discovery.rejected == {}


def test_a_cell_that_is_born_all_the_time_is_not_read(contract: Contract) -> None:
    site = Site(contract)
    for _ in range(BURST + 3):
        site.discovery.receive_birth(CellTopics("test", "b").birth, b"nonsense", False)
    assert site.discovery.rejected == {"malformed": BURST, "flood": 3}
    site.transport.connect()
    site.birth("c", 10)
    site.pass_s(1)
    assert site.neighbours.names == ("c",)
