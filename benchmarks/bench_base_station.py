"""What a slot costs a base station: encode, plan, message, adaptation step. Run `make bench-parts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from networld_runtime.bench.load import filled_inputs
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.mesh import message
from networld_runtime.mesh.authentication import NoSeal, Seal
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import DENOISERS, MODES, PlannerSettings
from networld_runtime.store.signature import public_key

NEIGHBOURS = tuple(f"neighbour-{index}" for index in range(6))
BUNDLE = Path(__file__).parents[1] / "bundles" / "networld"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUNDLE, "power")


@pytest.mark.parametrize("mode", MODES)
def test_mode(benchmark: BenchmarkFixture, bundle: Bundle, mode: str) -> None:
    time_plan(benchmark, bundle, mode=mode)


@pytest.mark.parametrize("denoiser", DENOISERS)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_steps(benchmark: BenchmarkFixture, bundle: Bundle, steps: int, denoiser: str) -> None:
    time_plan(benchmark, bundle, mode="guidance-select", steps=steps, denoiser=denoiser)


def time_plan(benchmark: BenchmarkFixture, bundle: Bundle, **changes: Any) -> None:
    """Time a decision from latent and mean field to action."""
    planner = Planner(bundle, PlannerSettings.from_json({**bundle.planner, **changes}))
    planner.warm_up()
    latent = np.zeros(bundle.contract.latent_size, dtype=np.float32)
    field = np.zeros(bundle.contract.mean_field_size, dtype=np.float32)
    benchmark(planner.plan, latent, field)


def test_encode_observation(benchmark: BenchmarkFixture, bundle: Bundle) -> None:
    planner = Planner(bundle)
    benchmark(planner.encode, np.zeros(bundle.contract.observation_size, dtype=np.float32))


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("bits", message.BITS)
def test_encode_message(
    benchmark: BenchmarkFixture, bundle: Bundle, bits: int, *, sealed: bool
) -> None:
    seal, told = _seals(sealed)[0], _message(bundle)
    benchmark(lambda: seal.close(message.encode(told, bundle.contract, bits), NEIGHBOURS))


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("bits", message.BITS)
def test_decode_message(
    benchmark: BenchmarkFixture, bundle: Bundle, bits: int, *, sealed: bool
) -> None:
    sender, receiver = _seals(sealed)
    payload = sender.close(message.encode(_message(bundle), bundle.contract, bits), NEIGHBOURS)
    benchmark(lambda: message.decode(receiver.open("sender", payload), bundle.contract))


def _message(bundle: Bundle) -> message.MeanFieldMessage:
    values = np.linspace(-1, 1, bundle.contract.message_size, dtype=np.float32)
    return message.MeanFieldMessage(1_790_000_000, 70_000, values, 1.0)


def _seals(sealed: bool) -> tuple[Seal, Seal]:
    """Return the seals of a sender and of its last neighbour."""
    if not sealed:
        return NoSeal(), NoSeal()
    private = {name: name.encode().ljust(32, b".") for name in ("sender", *NEIGHBOURS)}
    public = {name: public_key(key) for name, key in private.items()}
    sender, receiver = (
        IdentitySeal("site", Identity(name, private[name], {**public}))
        for name in ("sender", NEIGHBOURS[-1])
    )
    return sender, receiver


def test_adaptation_step(benchmark: BenchmarkFixture, bundle: Bundle) -> None:
    session = bundle.session("gradient")
    benchmark(session.run, **filled_inputs(bundle, "gradient"))
