"""Ways to choose an action: one pass of the policy, or plans, denoised step by step or in one graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from networld_runtime.bundle import FUSED_STEPS, Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.levels import level_grid
from networld_runtime.noise_source import NoiseSource
from networld_runtime.plan_start import plan_start
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.realtime import monotonic_s
from networld_runtime.solver import SOLVERS, solve
from networld_runtime.step_inputs import step_inputs

Inputs = Mapping[str, FloatArray]
"""What all graphs of a decision take: `in_latent` and `in_mean_field`."""


@dataclass(frozen=True)
class Given:
    """What a cell has beside what its graphs take.

    Attributes:
        adapter: Its adapter `[P]`.
        deadline_s: When the action must be there, on the clock of `realtime.monotonic_s`.
    """

    adapter: FloatArray
    deadline_s: float = math.inf


@dataclass(frozen=True)
class Plan:
    """What a cell means to do.

    Attributes:
        latents: The next latents `[H, Z]`.
        expected_return: The classifier's expectation.
        cut: Whether time was up before all denoising steps were taken.
    """

    latents: FloatArray
    expected_return: float
    cut: bool = False


class Way(Protocol):
    """A way to choose an action; it holds graphs and settings and remembers nothing of a cell."""

    @property
    def elastic(self) -> bool:
        """Whether it shortens what it does where time is short."""
        ...

    def choose(
        self, now: Inputs, given: Given, noise: NoiseSource, last: Plan | None
    ) -> tuple[FloatArray, Plan | None]:
        """Return the probabilities of the action `[A]` and the plan that they were read from."""
        ...


def make_way(bundle: Bundle, settings: PlannerSettings) -> Way:
    """Return the way that the settings ask for.

    Raises:
        BundleError: A graph is missing, does not load or does not fit the contract.
    """
    if settings.mode == "policy":
        return _OnePass(bundle)
    if settings.needs_full:
        return _Stepwise(bundle, settings, "denoiser", bundle.candidates)
    if settings.steps in FUSED_STEPS and settings.warm_start_level == 0:
        return _Fused(bundle, settings, f"plan_{settings.steps}{settings.precision}")
    return _Stepwise(bundle, settings, f"distilled{settings.precision}", settings.plans)


class _OnePass:
    """The policy's network reads the action from latent and mean field; it is what adapts."""

    elastic = False

    def __init__(self, bundle: Bundle) -> None:
        self._policy = bundle.session("policy")

    def choose(
        self, now: Inputs, given: Given, noise: NoiseSource, last: Plan | None
    ) -> tuple[FloatArray, None]:
        del noise, last  # nothing is drawn, and there are no plans
        (probabilities,) = self._policy.run(in_adapter=given.adapter, **now)
        return probabilities[0], None


class _Stepwise:
    """Plans are denoised step by step, as long as there is time; the action is read from one of them.

    Args:
        bundle: A checked bundle.
        settings: How actions are chosen.
        graph: The denoiser.
        rows: Plans that it takes, whether they are needed or not.
    """

    elastic = True

    def __init__(self, bundle: Bundle, settings: PlannerSettings, graph: str, rows: int) -> None:
        self._settings = settings
        self._denoiser = bundle.session(graph)
        self._head = bundle.session("head")
        self._shape = (bundle.contract.horizon, bundle.contract.latent_size)
        self._rows = rows
        self._guidance_scale = np.array([_guidance_scale(settings)], dtype=np.float32)
        self._step_s = self._head_s = 0.0  # how long they took last

    def choose(
        self, now: Inputs, given: Given, noise: NoiseSource, last: Plan | None
    ) -> tuple[FloatArray, Plan]:
        settings = self._settings
        draw = noise.draw((settings.plans, *self._shape))
        start, levels = plan_start(settings, draw, None if last is None else last.latents)
        steps = SOLVERS[settings.solver](levels)
        taken, asked_s = 0, monotonic_s()

        def enough() -> bool:
            """Another step and the head would not be done in time, if they take as long as the last did."""
            nonlocal asked_s
            now_s = monotonic_s()
            self._step_s, asked_s = now_s - asked_s, now_s
            return now_s + self._step_s + self._head_s > given.deadline_s

        def denoise(plans: FloatArray, level: float) -> FloatArray:
            nonlocal taken
            taken += 1
            (clean,) = self._denoiser.run(
                in_plan=plans.astype(np.float32),
                in_level=np.array([level], dtype=np.float32),
                in_guidance_scale=self._guidance_scale,
                **now,
            )
            return clean

        start = np.resize(start, (self._rows, *self._shape))
        plans = solve(denoise, start, steps, enough)
        plans = plans[: settings.plans].astype(np.float32)
        begun_s = monotonic_s()
        returns, actions = self._head.run(in_plan=plans, **now)
        self._head_s = monotonic_s() - begun_s
        best = int(np.argmax(returns))
        return actions[best], Plan(plans[best], float(returns[best]), taken < len(steps))


class _Fused:
    """All steps of the distilled denoiser and what is to be said of the plans, in one graph.

    Args:
        bundle: A checked bundle.
        settings: How actions are chosen.
        graph: The graph.

    Raises:
        ValueError: The solver's last step is not to the clean plan, which the graph takes for granted.
    """

    elastic = False

    def __init__(self, bundle: Bundle, settings: PlannerSettings, graph: str) -> None:
        contract = bundle.contract
        self._graph = bundle.session(graph)
        self._noise = (settings.plans, contract.horizon * contract.latent_size)
        self._temperature = np.float32(settings.temperature)
        self._shape = (contract.horizon + 1, contract.latent_size)
        self._action_size = contract.action_size
        steps = SOLVERS[settings.solver](level_grid(settings.steps))
        self._constant = step_inputs(steps, _guidance_scale(settings))

    def choose(
        self, now: Inputs, given: Given, noise: NoiseSource, last: Plan | None
    ) -> tuple[FloatArray, Plan]:
        del given, last  # a graph that runs cannot be cut, and starts from noise alone
        start = self._temperature * noise.draw(self._noise)
        chains, returns, actions = self._graph.run(in_plan=start, **self._constant, **now)
        best = int(returns.argmax())
        latents = chains[best].reshape(self._shape)[1:]  # the first one is the present's
        return actions[best, : self._action_size], Plan(latents, float(returns[best, 0]))


def _guidance_scale(settings: PlannerSettings) -> float:
    return settings.guidance_scale if settings.guides else 0.0
