"""One decision: latent and mean field in, action out, in one pass or by denoising plans."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from networld_runtime.bundle import Bundle
from networld_runtime.contract import BoolArray, FloatArray
from networld_runtime.errors import ConfigError
from networld_runtime.plan_start import plan_start
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.solver import SOLVERS
from networld_runtime.two_hot import decode_actions

Inputs = Mapping[str, FloatArray]
"""What all graphs of a decision take: `in_latent`, `in_mean_field` and `in_adapter`."""


@dataclass(frozen=True)
class Plan:
    """What a cell means to do.

    Attributes:
        latents: The next latents `[H, Z]`.
        expected_return: The classifier's expectation.
    """

    latents: FloatArray
    expected_return: float


@dataclass(frozen=True)
class Decision:
    """What the planner decided.

    Attributes:
        action: `[C]`, native units.
        plan: The plan whose first action that is; None in the mode `policy`, which makes none.
    """

    action: FloatArray
    plan: Plan | None = None


class Planner:
    """Decides for one cell with the graphs of a bundle.

    Args:
        bundle: A checked bundle.
        settings: How actions are chosen; None takes the bundle's own.
        seed: Seed or generator of the initial noise.
        adapter: Adapter vector `[P]`; None is the base model.

    Raises:
        BundleError: A graph does not load or does not fit the contract.
        ConfigError: The bundle was exported for another number of candidates.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: PlannerSettings | None = None,
        seed: int | np.random.Generator = 0,
        adapter: FloatArray | None = None,
    ) -> None:
        self.contract = bundle.contract
        self.settings = settings or PlannerSettings.from_json(bundle.planner)
        if self.settings.candidates != bundle.candidates:
            raise ConfigError(
                "planner settings",
                f"candidates = {self.settings.candidates}: this bundle was exported for "
                f"{bundle.candidates}; export it with --candidates {self.settings.candidates}",
            )
        self._encoder = bundle.session("encoder")
        self._way: _Way = (
            _OnePass(bundle)
            if self.settings.mode == "policy"
            else _Denoising(bundle, self.settings)
        )
        self._random = np.random.default_rng(seed)
        self._last: Plan | None = None
        self._adapter = np.zeros(bundle.adapter_size, dtype=np.float32)
        if adapter is not None:
            self.adopt(adapter)

    def sibling(self, seed: int | np.random.Generator) -> Planner:
        """Return the planner of another cell, with noise, last plan and adapter of its own.

        It shares the loaded graphs, and begins with the adapter that this one has now.
        """
        other = copy.copy(self)
        other._random = np.random.default_rng(seed)
        other.reset()
        return other

    def adopt(self, adapter: FloatArray) -> None:
        """Plan with another adapter from now on; zeros are the base model."""
        if adapter.shape != self._adapter.shape:
            raise ValueError(f"adapter of shape {adapter.shape}, expected {self._adapter.shape}")
        self._adapter = np.ascontiguousarray(adapter, dtype=np.float32)

    def reset(self) -> None:
        """Forget the last plan: a new episode begins."""
        self._last = None

    def encode(self, observation: FloatArray) -> FloatArray:
        """Return the latent `[Z]` of an observation `[D]` in native units."""
        (latent,) = self._encoder.run(in_observation=self.contract.normalise(observation)[None])
        return np.asarray(latent[0], dtype=np.float32)

    def plan(
        self, latent: FloatArray, mean_field: FloatArray, mask: BoolArray | None = None
    ) -> Decision:
        """Return what to do in the present slot.

        Args:
            latent: Encoding of the present observation `[Z]`.
            mean_field: What the neighbours told `[M]`.
            mask: Valid choices in the present slot `[mask_size]`; None if all are.
        """
        now = {
            "in_latent": latent[None],
            "in_mean_field": mean_field[None],
            "in_adapter": self._adapter,
        }
        probabilities, self._last = self._way.choose(now, self._random, self._last)
        action = decode_actions(probabilities, self.contract.actions, mask)
        return Decision(action, self._last)

    def warm_up(self, runs: int = 20) -> None:
        """Run the graphs a few times: the first runs are two to three times slower."""
        latent = np.zeros(self.contract.latent_size, dtype=np.float32)
        field = np.zeros(self.contract.mean_field_size, dtype=np.float32)
        observation = np.zeros(self.contract.observation_size, dtype=np.float32)
        for _ in range(runs):
            self.encode(observation)
            self.plan(latent, field)
        self.reset()


class _Way(Protocol):
    """A way to choose an action; it holds graphs and settings and remembers nothing."""

    def choose(
        self, now: Inputs, random: np.random.Generator, last: Plan | None
    ) -> tuple[FloatArray, Plan | None]:
        """Return the probabilities of the action `[A]` and the plan that they were read from."""
        ...


class _OnePass:
    """The policy's network reads the action from latent and mean field."""

    def __init__(self, bundle: Bundle) -> None:
        self._policy = bundle.session("policy")

    def choose(
        self, now: Inputs, random: np.random.Generator, last: Plan | None
    ) -> tuple[FloatArray, None]:
        del random, last  # nothing is drawn, and there are no plans
        (probabilities,) = self._policy.run(**now)
        return probabilities[0], None


class _Denoising:
    """Plans are denoised, and inverse dynamics reads the action from one of them."""

    def __init__(self, bundle: Bundle, settings: PlannerSettings) -> None:
        self._settings = settings
        self._denoiser = bundle.session("denoiser")
        self._head = bundle.session("head")
        self._shape = (bundle.contract.horizon, bundle.contract.latent_size)
        scale = settings.guidance_scale if settings.guides else 0.0
        self._guidance_scale = np.array([scale], dtype=np.float32)

    def choose(
        self, now: Inputs, random: np.random.Generator, last: Plan | None
    ) -> tuple[FloatArray, Plan]:
        settings = self._settings
        draw = random.standard_normal((settings.plans, *self._shape), dtype=np.float32)
        start, levels = plan_start(settings, draw, None if last is None else last.latents)

        def denoise(plans: FloatArray, level: float) -> FloatArray:
            (clean,) = self._denoiser.run(
                in_plan=plans.astype(np.float32),
                in_level=np.array([level], dtype=np.float32),
                in_guidance_scale=self._guidance_scale,
                **now,
            )
            return clean

        # a graph takes so many plans whether they are needed or not
        start = np.resize(start, (settings.candidates, *self._shape))
        plans = SOLVERS[settings.solver](denoise, start, levels)
        returns, actions = self._head.run(in_plan=plans.astype(np.float32), **now)
        best = int(np.argmax(returns[: settings.plans]))
        return actions[best], Plan(plans[best], float(returns[best]))
