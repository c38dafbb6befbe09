"""Orders to cells and their answers, over a bus in the process."""

from __future__ import annotations

import json

import pytest

from networld_runtime.errors import BrokerError
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_training.demo import orders
from networld_training.demo.orders import Orders

CELLS = ("cell-0", "cell-1")


class Site:
    """Orders, and cells that echo them."""

    def __init__(self, silent: int = 0) -> None:
        self.bus = MemoryBus()
        self.received: list[dict[str, object]] = []
        self.alive = list(CELLS)
        transport = MemoryTransport(self.bus)
        self.orders = Orders(transport, "demo", CELLS, lambda: self.alive)
        transport.connect()
        self.cells = {name: MemoryTransport(self.bus) for name in CELLS}
        for name, cell in self.cells.items():
            topics = CellTopics("demo", name)
            patience = [silent if name == "cell-1" else 0]

            def obey(
                payload: bytes,
                cell: MemoryTransport = cell,
                topics: CellTopics = topics,
                patience: list[int] = patience,
            ) -> None:
                self.received.append(json.loads(payload))
                if patience[0]:
                    patience[0] -= 1
                    return
                cell.publish(topics.report, b"no JSON")
                cell.publish(topics.report, json.dumps({"id": "another"}).encode())
                cell.publish(
                    topics.report, json.dumps({**json.loads(payload), "ok": True}).encode()
                )

            cell.subscribe({topics.command: obey})
            cell.connect()


def test_all_answer() -> None:
    site = Site()
    counts: list[int] = []
    answers = site.orders.ask("collect", 5, counts.append, on=False)
    assert set(answers) == set(CELLS)
    assert all(answer["ok"] and answer["on"] is False for answer in answers.values())


def test_who_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "REPEAT_S", 0.05)
    site = Site(silent=1)
    assert set(site.orders.ask("report", 5)) == set(CELLS)
    assert len(site.received) == 3


def test_silence_ends_with_the_answers_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "REPEAT_S", 0.05)
    site = Site(silent=1000)
    assert set(site.orders.ask("adapt", 0.3, repeat=False)) == {"cell-0"}
    assert len(site.received) == 2


def test_lost_cell_is_not_waited_for() -> None:
    site = Site(silent=1000)
    site.alive.remove("cell-1")
    assert set(site.orders.ask("report", 60)) == {"cell-0"}


def test_births_are_awaited_and_errors_end_the_wait() -> None:
    site = Site()
    counts: list[int] = []
    topics = CellTopics("demo", "cell-0")
    site.cells["cell-0"].publish(topics.birth, b"{}", retain=True)
    assert site.orders.await_births(0.1, counts.append) == ["cell-1"]

    def fail() -> list[str]:
        raise BrokerError("broker", "gone")

    site.orders._alive = fail
    with pytest.raises(BrokerError):
        site.orders.await_births(60, counts.append)


def test_site_leaves_nothing_retained() -> None:
    site = Site()
    site.orders.forget_site()
    assert set(site.bus.retained.values()) == {b""}
    assert len(site.bus.retained) == 2 * len(CELLS)


def test_order_that_the_transport_did_not_take_is_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()
    publish, refused = MemoryTransport.publish, [CellTopics("demo", "cell-1").command]

    def full_at_first(transport: MemoryTransport, topic: str, payload: bytes, **how: bool) -> bool:
        if topic in refused:
            refused.remove(topic)
            return False
        return publish(transport, topic, payload, **how)

    monkeypatch.setattr(MemoryTransport, "publish", full_at_first)
    assert set(site.orders.ask("adapt", 5, repeat=False)) == set(CELLS)
    assert len(site.received) == 2
