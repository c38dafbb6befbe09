"""How a cell chooses its action: the modes and their settings, and nothing that plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from networld_runtime.errors import check_values
from networld_runtime.solver import SOLVERS

MODES = ("policy", "none", "guidance", "select", "guidance-select")
"""Ways to choose an action; `PlannerSettings` says what each does."""
DENOISERS = ("full", "distilled", "distilled-int8", "distilled-fp16")
"""Networks that denoise plans; `PlannerSettings` says what each does."""


@dataclass(frozen=True)
class PlannerSettings:
    """How an action is chosen.

    Attributes:
        mode: `policy`: the policy's network reads it from latent and mean field in one pass, without a plan.
            The others read it from a plan. `none`: from one that is denoised without guidance.
            `guidance`: from one that the classifier guides in every denoising step. `select`: from the best
            of several without guidance, by the classifier. `guidance-select`: from the best of several
            with guidance.
        denoiser: `full`: the denoiser that was trained on logs; guidance takes the classifier's gradient.
            `distilled`: a smaller one that has learned where the full one ends after many guided steps; one
            or two steps are enough. `distilled-int8`: the same with weights of one byte: smaller and faster,
            and not quite as exact. `distilled-fp16`: with numbers of two bytes, for GPUs; a processor takes
            longer with them.
        steps: Denoising steps of a plan that starts from noise.
        candidates: Plans drawn for each decision in the modes that select.
        guidance_scale: Length of the classifier's step in every denoising step, in the modes with guidance.
        temperature: Standard deviation of the initial noise.
        warm_start_level: Level to which the shifted last plan is noised again; 0 always starts afresh.
        solver: `ddim` or `dpm_solver`.
        anytime: In every slot take the way of the best score in the bundle that the time left allows, in
            place of `mode`, `denoiser`, `steps` and `candidates`; without warm start.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    mode: str = "guidance-select"
    denoiser: str = "full"
    steps: int = 2
    candidates: int = 8
    guidance_scale: float = 0.3
    temperature: float = 1.0
    warm_start_level: float = 0.0
    solver: str = "dpm_solver"
    anytime: bool = False

    def __post_init__(self) -> None:
        check_values(
            "planner settings",
            self,
            (
                ("mode", self.mode in MODES, f"one of {', '.join(MODES)}"),
                ("denoiser", self.denoiser in DENOISERS, f"one of {', '.join(DENOISERS)}"),
                ("steps", 1 <= self.steps <= 100, "1 to 100"),
                ("candidates", 1 <= self.candidates <= 1024, "1 to 1024"),
                ("guidance_scale", 0 <= self.guidance_scale <= 10, "0 to 10"),
                ("temperature", 0 <= self.temperature <= 2, "0 to 2"),
                ("warm_start_level", 0 <= self.warm_start_level < 1, "0 up to, not including, 1"),
                ("solver", self.solver in SOLVERS, " or ".join(SOLVERS)),
            ),
        )

    @property
    def guides(self) -> bool:
        """Whether the classifier guides every denoising step."""
        return self.mode in {"guidance", "guidance-select"}

    @property
    def needs_full(self) -> bool:
        """Whether plans are denoised by the full denoiser."""
        return not self.anytime and self.mode != "policy" and self.denoiser == "full"

    @property
    def needs_distilled(self) -> bool:
        """Whether plans are denoised by the distilled denoiser, in whatever precision."""
        return self.mode != "policy" and self.denoiser != "full"

    @property
    def precision(self) -> str:
        """How the names of graphs end that plan: `_int8`, `_fp16`, or nothing for float32.

        Only bundles have graphs of any but float32.
        """
        _, _, precision = self.denoiser.partition("-") if self.mode != "policy" else ("", "", "")
        return precision and f"_{precision}"

    @property
    def plans(self) -> int:
        """Plans that an action is chosen from; 0 in the mode `policy`."""
        if self.mode == "policy":
            return 0
        return self.candidates if self.mode in {"select", "guidance-select"} else 1

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannerSettings:
        """Build settings from `to_json`'s data; a TypeError names an unknown key."""
        return cls(**data)
