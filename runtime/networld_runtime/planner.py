"""One decision: latent and mean field in, action out, in one pass or by denoising plans."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np

from networld_runtime.anytime import best_way
from networld_runtime.bundle import Bundle
from networld_runtime.contract import BoolArray, FloatArray
from networld_runtime.errors import ConfigError
from networld_runtime.noise_source import NoiseSource
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.rungs import rung_of, rungs_below
from networld_runtime.two_hot import decode_actions
from networld_runtime.ways import Given, Plan


@dataclass(frozen=True)
class Decision:
    """What the planner decided.

    Attributes:
        action: `[C]`, native units.
        plan: The plan whose first action that is; None where the policy acts, which makes none.
    """

    action: FloatArray
    plan: Plan | None = None


class Planner:
    """Decides for one cell with the graphs of a bundle.

    Attributes:
        rung: Which of `rungs.RUNGS` it stands on.
        fallbacks: Planners of lower rungs, which follow it in all but plans; none until they are added.

    Args:
        bundle: A checked bundle.
        settings: How actions are chosen; None takes the bundle's own.
        seed: Seed or generator of the initial noise.
        adapter: Adapter vector `[P]`; None is the base model.

    Raises:
        BundleError: A graph is missing, does not load or does not fit the contract.
        ConfigError: The full denoiser was exported for another number of candidates.
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
        if self.settings.needs_full and self.settings.candidates != bundle.candidates:
            raise ConfigError(
                "planner settings",
                f"candidates = {self.settings.candidates}: this bundle's full denoiser was exported "
                f"for {bundle.candidates}; export it with --candidates {self.settings.candidates}",
            )
        self.rung = rung_of(self.settings)
        self.fallbacks: tuple[Planner, ...] = ()
        self._encoder = bundle.session("encoder")
        self._way = best_way(bundle, self.settings)
        self._noise = NoiseSource(seed)
        self._last: Plan | None = None
        self._adapter = np.zeros(bundle.adapter_size, dtype=np.float32)
        if adapter is not None:
            self.adopt(adapter)

    def sibling(self, seed: int | np.random.Generator) -> Planner:
        """Return the planner of another cell, with noise, last plan and adapter of its own.

        It shares the loaded graphs, and begins with the adapter that this one has now; so do its fallbacks.
        """
        other = copy.copy(self)
        other.fallbacks = tuple(lower.sibling(0) for lower in self.fallbacks)
        other._noise = NoiseSource(seed)
        other.reset()
        return other

    def add_fallbacks(self, bundle: Bundle) -> None:
        """Load planners of the rungs below, which the loop goes down to where this one fails or is late.

        Args:
            bundle: The bundle that this planner is of.

        Raises:
            BundleError: As for the planner itself.
        """
        fallbacks: list[Planner] = []
        self.fallbacks = ()
        for rung, settings in rungs_below(self.settings, bundle):
            lower = self.sibling(0)
            lower.rung, lower.settings = rung, settings
            lower._way = best_way(bundle, settings)
            fallbacks.append(lower)
        self.fallbacks = tuple(fallbacks)

    @property
    def elastic(self) -> bool:
        """Whether it plans for less time where time is short."""
        return self._way.elastic

    @property
    def provider(self) -> str:
        """Where the graphs run: `cpu`, `cuda` or `tensorrt`."""
        return self._encoder.provider

    def adopt(self, adapter: FloatArray) -> None:
        """Plan with another adapter from now on; zeros are the base model."""
        if adapter.shape != self._adapter.shape:
            raise ValueError(f"adapter of shape {adapter.shape}, expected {self._adapter.shape}")
        self._adapter = np.ascontiguousarray(adapter, dtype=np.float32)
        for lower in self.fallbacks:
            lower.adopt(adapter)

    def reset(self) -> None:
        """Forget the last plan: a new episode begins."""
        self._last = None
        for lower in self.fallbacks:
            lower.reset()

    def encode(self, observation: FloatArray) -> FloatArray:
        """Return the latent `[Z]` of an observation `[D]` in native units."""
        (latent,) = self._encoder.run(in_observation=self.contract.normalise(observation)[None])
        return np.asarray(latent[0], dtype=np.float32)

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> Decision:
        """Return what to do in the present slot.

        Args:
            latent: Encoding of the present observation `[Z]`.
            mean_field: What the neighbours told `[M]`.
            mask: Valid choices in the present slot `[mask_size]`; None if all are.
            deadline_s: When the action must be there, on the clock of `realtime.monotonic_s`. A plan that is
                denoised step by step is cut in time, but never before its first step.
        """
        now = {"in_latent": latent[None], "in_mean_field": mean_field[None]}
        given = Given(self._adapter, deadline_s)
        probabilities, self._last = self._way.choose(now, given, self._noise, self._last)
        action = decode_actions(probabilities, self.contract.actions, mask)
        return Decision(action, self._last)

    def draw_ahead(self) -> None:
        """Draw the noise of the next plan: done between two slots, it is no part of the time to an action."""
        self._noise.draw_ahead()
        for lower in self.fallbacks:
            lower.draw_ahead()

    def warm_up(self, runs: int = 20) -> None:
        """Run the graphs a few times: the first runs are two to three times slower."""
        latent = np.zeros(self.contract.latent_size, dtype=np.float32)
        field = np.zeros(self.contract.mean_field_size, dtype=np.float32)
        observation = np.zeros(self.contract.observation_size, dtype=np.float32)
        for _ in range(runs):
            self.encode(observation)
            self.plan(latent, field)
        for lower in self.fallbacks:
            lower.warm_up(runs)
        self.reset()
