"""One decision: latent and mean field in, action out, by denoising plans and taking the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from networld_runtime.bundle import Bundle
from networld_runtime.contract import BoolArray, FloatArray
from networld_runtime.errors import ConfigError, check_values
from networld_runtime.levels import level_grid, noise, signal
from networld_runtime.solver import SOLVERS
from networld_runtime.two_hot import decode_actions


@dataclass(frozen=True)
class PlannerSettings:
    """How a plan is found.

    Attributes:
        steps: Denoising steps of a plan that starts from noise.
        candidates: Plans drawn for each decision; the classifier picks the best.
        guidance_scale: Length of the classifier's step in every denoising step; 0 is none.
        temperature: Standard deviation of the initial noise.
        warm_start_level: Level to which the shifted last plan is noised again; 0 always starts afresh.
        solver: `ddim` or `dpm_solver`.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 4
    candidates: int = 8
    guidance_scale: float = 0.0
    temperature: float = 1.0
    warm_start_level: float = 0.0
    solver: str = "dpm_solver"

    def __post_init__(self) -> None:
        check_values(
            "planner settings",
            self,
            (
                ("steps", 1 <= self.steps <= 100, "1 to 100"),
                ("candidates", 1 <= self.candidates <= 1024, "1 to 1024"),
                ("guidance_scale", 0 <= self.guidance_scale <= 10, "0 to 10"),
                ("temperature", 0 <= self.temperature <= 2, "0 to 2"),
                ("warm_start_level", 0 <= self.warm_start_level < 1, "0 up to, not including, 1"),
                ("solver", self.solver in SOLVERS, " or ".join(SOLVERS)),
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannerSettings:
        """Build settings from `to_json`'s data; a TypeError names an unknown key."""
        return cls(**data)


@dataclass(frozen=True)
class Decision:
    """What the planner decided.

    Attributes:
        action: First action of the best plan `[C]`, native units.
        expected_return: The classifier's expectation for that plan.
        plan: The best plan's latents `[H, Z]`.
    """

    action: FloatArray
    expected_return: float
    plan: FloatArray


class Planner:
    """Plans for one cell with the graphs of a bundle.

    Args:
        bundle: A checked bundle.
        settings: How a plan is found; None takes the bundle's own.
        seed: Seed of the initial noise.
        adapter: Adapter vector `[P]`; None is the base model.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: PlannerSettings | None = None,
        seed: int = 0,
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
        self._denoiser = bundle.session("denoiser")
        self._head = bundle.session("head")
        self._solve = SOLVERS[self.settings.solver]
        self._guidance_scale = np.array([self.settings.guidance_scale], dtype=np.float32)
        self._random = np.random.default_rng(seed)
        self._previous: FloatArray | None = None
        self._adapter = np.zeros(bundle.adapter_size, dtype=np.float32)
        if adapter is not None:
            self.adopt(adapter)

    def adopt(self, adapter: FloatArray) -> None:
        """Plan with another adapter from now on; zeros are the base model."""
        if adapter.shape != self._adapter.shape:
            raise ValueError(f"adapter of shape {adapter.shape}, expected {self._adapter.shape}")
        self._adapter = np.ascontiguousarray(adapter, dtype=np.float32)

    def reset(self) -> None:
        """Forget the last plan: a new episode begins."""
        self._previous = None

    def encode(self, observation: FloatArray) -> FloatArray:
        """Return the latent `[Z]` of an observation `[D]` in native units."""
        (latent,) = self._encoder.run(in_observation=self.contract.normalise(observation)[None])
        return np.asarray(latent[0], dtype=np.float32)

    def plan(
        self, latent: FloatArray, mean_field: FloatArray, mask: BoolArray | None = None
    ) -> Decision:
        """Return the best of the candidates.

        Args:
            latent: Encoding of the present observation `[Z]`.
            mean_field: What the neighbours told `[M]`.
            mask: Valid choices in the present slot `[mask_size]`; None if all are.
        """
        now = {"in_latent": latent[None], "in_mean_field": mean_field[None]}

        def denoise(plan: FloatArray, level: float) -> FloatArray:
            (clean,) = self._denoiser.run(
                in_plan=plan.astype(np.float32),
                in_level=np.array([level], dtype=np.float32),
                in_guidance_scale=self._guidance_scale,
                in_adapter=self._adapter,
                **now,
            )
            return clean

        plans = self._solve(denoise, *self._start())
        returns, actions = self._head.run(
            in_plan=plans.astype(np.float32), in_adapter=self._adapter, **now
        )
        best = int(np.argmax(returns))
        self._previous = plans[best]
        action = decode_actions(actions[best], self.contract.actions, mask)
        return Decision(action, float(returns[best]), plans[best])

    def warm_up(self, runs: int = 20) -> None:
        """Run the graphs a few times: the first runs are two to three times slower."""
        latent = np.zeros(self.contract.latent_size, dtype=np.float32)
        field = np.zeros(self.contract.mean_field_size, dtype=np.float32)
        observation = np.zeros(self.contract.observation_size, dtype=np.float32)
        for _ in range(runs):
            self.encode(observation)
            self.plan(latent, field)
        self.reset()

    def _start(self) -> tuple[FloatArray, list[float]]:
        """Return the noisy plans to start from and the levels to go through."""
        settings = self.settings
        shape = (settings.candidates, self.contract.horizon, self.contract.latent_size)
        draw = self._random.standard_normal(shape, dtype=np.float32) * settings.temperature
        if self._previous is None or settings.warm_start_level == 0:
            return draw.astype(np.float32), level_grid(settings.steps)
        # one slot has passed: what was the second latent is the next one, the last is repeated
        shifted = np.concatenate([self._previous[1:], self._previous[-1:]])
        level = settings.warm_start_level
        start = signal(level) * shifted[None] + noise(level) * draw
        return start.astype(np.float32), level_grid(max(1, settings.steps // 2), level)
