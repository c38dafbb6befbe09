"""What the tests of the base station share: a small contract, a configuration, a broker."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from networld_runtime.contract import ActionBins, Choice, Contract, Feature, ReturnBins

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
listener = {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}
async def main():
    await Broker({"listeners": {"default": listener}, "plugins": plugins}).start()
    await asyncio.sleep(3600)
asyncio.run(main())
"""


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract(
        task="power",
        slot_s=0.1,
        features=tuple(Feature(f"feature_{index}", "dB", -50.0, 50.0) for index in range(6)),
        actions=(ActionBins("power_db", -20.0, 0.0, 21, off=-30.0),),
        safe_action=(-10.0,),
        reward_low=0.0,
        reward_high=10.0,
        returns=ReturnBins(0.0, 40.0, 41),
        discount=0.9,
        latent_size=24,
        message_size=16,
        horizon=4,
    )


@pytest.fixture(scope="session")
def hybrid(contract: Contract) -> Contract:
    """Actions of every kind: a masked choice, a number, a free choice."""
    actions = (
        Choice("user", ("first", "second", "third", "mute"), masked=True),
        ActionBins("offset_db", -6.0, 6.0, 13),
        Choice("mode", ("active", "light", "deep")),
    )
    return replace(contract, actions=actions, safe_action=(3.0, 0.0, 0.0))


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration with every required key and nothing else."""
    file = tmp_path / "cell.toml"
    file.write_text(
        """
        [cell]
        site = "test"
        name = "a"
        task = "power"
        neighbours = ["b", "c"]
        [bundle]
        path = "bundle"
        [state]
        directory = "state"
        """
    )
    return file


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def broker_port(free_port: int) -> Iterator[int]:
    """The port of a broker of our own: mosquitto if installed, else amqtt, else skip."""
    if shutil.which("mosquitto"):
        command = ["mosquitto", "-p", str(free_port)]
    elif find_spec("amqtt"):
        command = [sys.executable, "-c", AMQTT, str(free_port)]
    else:
        pytest.skip("neither mosquitto nor amqtt is installed")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(free_port)
            yield free_port
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while not _answers(port):
        if time.monotonic() > deadline:
            raise TimeoutError("the broker does not start")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
