"""What the tests of the base station share: a small contract, a configuration, a broker."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.bundle import Bundle
from networld_runtime.contract import ActionBins, Choice, Contract, Feature, FloatArray, ReturnBins
from networld_runtime.sessions import Shape

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


@dataclass
class ToyGraph:
    """A NumPy function as strict as a graph: names, shapes, types and memory layout must fit.

    Attributes:
        answer: Computes the outputs.
        inputs: Names and shapes.
        calls: The inputs of every run so far.
    """

    answer: Callable[..., tuple[FloatArray, ...]]
    inputs: dict[str, Shape]
    calls: list[dict[str, FloatArray]] = field(default_factory=list)

    def run(self, **inputs: FloatArray) -> tuple[FloatArray, ...]:
        assert inputs.keys() == self.inputs.keys()
        for name, shape in self.inputs.items():
            found = inputs[name].shape
            assert len(found) == len(shape)
            assert all(
                isinstance(size, str) or is_ == size for is_, size in zip(found, shape, strict=True)
            )
        assert all(value.dtype == np.float32 for value in inputs.values())
        assert all(value.flags.c_contiguous for value in inputs.values())
        self.calls.append(inputs)
        return self.answer(**inputs)


@dataclass(frozen=True)
class ToyBundle(Bundle):
    """A bundle that needs no files: its graphs are formulas that can be computed by hand.

    Attributes:
        loaded: The graphs that were loaded, in order.
    """

    loaded: list[tuple[str, ToyGraph]] = field(default_factory=list)

    def session(self, graph: str) -> Any:
        answer = getattr(self, f"_{graph}")
        self.loaded.append((graph, ToyGraph(answer, self.signature(graph)[0])))
        return self.loaded[-1][1]

    def calls(self, graph: str) -> list[dict[str, FloatArray]]:
        """Return the inputs of every run of a graph."""
        return [call for name, one in self.loaded if name == graph for call in one.calls]

    def _encoder(self, in_observation: FloatArray) -> tuple[FloatArray, ...]:
        return (np.resize(np.tanh(in_observation), (1, self.contract.latent_size)),)

    def _denoiser(
        self,
        in_plan: FloatArray,
        in_level: FloatArray,
        in_latent: FloatArray,
        in_mean_field: FloatArray,
        in_guidance_scale: FloatArray,
    ) -> tuple[FloatArray, ...]:
        """Half the noisy plan and half the latent; guidance pushes upwards."""
        clean = 0.5 * in_plan + 0.5 * in_latent + 0.1 * in_level + 0.1 * in_mean_field[0, 0]
        return (np.clip(clean + in_guidance_scale, -1, 1),)

    def _distilled(self, **inputs: FloatArray) -> tuple[FloatArray, ...]:
        """The same, so that both denoisers are checked by the same sums."""
        return self._denoiser(**inputs)

    _distilled_int8 = _distilled_fp16 = _distilled

    def _plan_1(
        self,
        in_plan: FloatArray,
        in_step: FloatArray,
        in_latent: FloatArray,
        in_mean_field: FloatArray,
        in_factors: FloatArray | None = None,
    ) -> tuple[FloatArray, ...]:
        """All steps, and what the head says of all plans."""
        moves = np.zeros((0, 3)) if in_factors is None else in_factors.reshape(-1, 3)
        plan = in_plan.reshape(len(in_plan), self.contract.horizon, -1)
        previous = np.zeros_like(plan)
        last = [(0.0, 1.0, 0.0)]
        for step, (noisy, clean, before) in zip(in_step, [*moves, *last], strict=True):
            level = np.arcsin(step[:1])  # the first feature is its sine
            (answer,) = self._denoiser(plan, level, in_latent, in_mean_field, step[-1:])
            plan = noisy * plan + clean * answer + before * previous
            previous = answer
        now = np.broadcast_to(in_latent, (len(plan), in_latent.shape[1]))
        chain = np.hstack([now, plan.reshape(len(plan), -1)])
        returns, actions = self._head(plan, in_latent, in_mean_field)
        return chain, returns[:, None], np.tile(actions, self.contract.horizon)

    _plan_2 = _plan_4 = _plan_1_int8 = _plan_2_int8 = _plan_4_int8 = _plan_1
    _plan_1_fp16 = _plan_2_fp16 = _plan_4_fp16 = _plan_1

    def _head(
        self,
        in_plan: FloatArray,
        in_latent: FloatArray,
        in_mean_field: FloatArray,
    ) -> tuple[FloatArray, ...]:
        """The return is the mean of a plan; the action's logits are the plan's first latent."""
        del in_latent, in_mean_field
        logits = np.resize(in_plan[:, 0], (len(in_plan), self.contract.action_size))
        return in_plan.mean(axis=(1, 2)), self._probabilities(4 * logits)

    def _policy(
        self, in_latent: FloatArray, in_mean_field: FloatArray, in_adapter: FloatArray
    ) -> tuple[FloatArray, ...]:
        shape = (1, self.contract.action_size)
        known = np.concatenate([in_latent[0], in_mean_field[0]])
        logits = np.resize(4 * known, shape) + np.resize(in_adapter, shape)
        return (self._probabilities(logits.astype(np.float32)),)

    def _gradient(
        self,
        in_observation: FloatArray,
        in_weight: FloatArray,
        in_adapter: FloatArray,
        **_: FloatArray,
    ) -> tuple[FloatArray, ...]:
        """Worth is less by the squared error of the adapter's beginning as a guess of the observations."""
        size = in_observation.shape[-1]
        error = in_adapter[:size] - in_observation
        weight = in_weight[..., None] / in_weight.sum()
        with np.errstate(invalid="ignore", over="ignore"):
            worth = -((in_weight[..., None] * error**2).sum(axis=(1, 2)))
            loss = (weight * error**2).sum().reshape(1)
            slope = (2 * weight * error).sum(axis=(0, 1))
        gradient = np.zeros_like(in_adapter)
        gradient[:size] = slope
        return loss.astype(np.float32), worth.astype(np.float32), gradient

    def _probabilities(self, logits: FloatArray) -> FloatArray:
        parts, start = [], 0
        for action in self.contract.actions:
            part = logits[:, start : start + action.size]
            part = np.exp(part - part.max(axis=1, keepdims=True))
            parts.append(part / part.sum(axis=1, keepdims=True))
            start += action.size
        return np.concatenate(parts, axis=1).astype(np.float32)


def toy_bundle(contract: Contract) -> ToyBundle:
    settings = {"candidates": 3, "steps": 2}
    return ToyBundle(Path(), "toy", "ab" * 32, contract, 3, 10, 8, 2, settings, {})


@pytest.fixture
def toy(contract: Contract) -> ToyBundle:
    return toy_bundle(contract)


@pytest.fixture
def hybrid_toy(hybrid: Contract) -> ToyBundle:
    return toy_bundle(hybrid)


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
def broker_port(broker: tuple[int, subprocess.Popen[bytes]]) -> int:
    """The port of a broker of our own."""
    return broker[0]


@pytest.fixture
def broker(free_port: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Port and process of a broker of our own: mosquitto if installed, else amqtt, else skip."""
    if shutil.which("mosquitto"):
        command = ["mosquitto", "-p", str(free_port)]
    elif find_spec("amqtt"):
        command = [sys.executable, "-c", AMQTT, str(free_port)]
    else:
        pytest.skip("neither mosquitto nor amqtt is installed")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(free_port)
            yield free_port, process
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
