"""Brokers for the tests of faults; what a broker said is shown with a test that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import KINDS, Broker, Mosquitto, make_broker, missing


@contextmanager
def shown(broker: Broker) -> Iterator[Broker]:
    with broker:
        yield broker
    print(f"{type(broker).__name__} said:\n{broker.log()}")  # pytest shows it if the test fails


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """Mosquitto with the shipped configuration for one computer, on a port of its own."""
    if reason := missing("mosquitto"):
        pytest.skip(reason)
    broker = Mosquitto(tmp_path)
    with shown(broker):
        yield broker


@pytest.fixture(params=KINDS)
def each_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Every broker of another lineage that is here, one after the other."""
    if reason := missing(request.param):
        pytest.skip(reason)
    with shown(make_broker(request.param, tmp_path)) as broker:
        yield broker
