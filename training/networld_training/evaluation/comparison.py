"""A bundle beside every heuristic, on identical drops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.errors import check_values
from networld_training.evaluation.bundle_policy import BundlePolicy, load_power_bundle
from networld_training.evaluation.drops import make_heuristics, run_policies, scores
from networld_training.tasks.power import PowerNetwork
from networld_training.tasks.power.heuristics import POWER_HEURISTICS
from networld_training.tasks.registry import TASKS

# Keeps the drops that are judged apart from those that are trained on.
SEED_DOMAIN = 0x6576616C


@dataclass(frozen=True)
class Comparison:
    """What is compared on which drops.

    Attributes:
        bundle: Folder of a bundle; None compares the heuristics alone.
        scenario: Name of a scenario, of the power task.
        episodes: Number of drops.
        seed: Seed that the drops are drawn from.

    Raises:
        ConfigError: The scenario is unknown or a number out of range; lists all problems.
    """

    bundle: Path | None = None
    scenario: str = "umi100"
    episodes: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        known = ", ".join(sorted(TASKS["power"].scenarios))
        check_values(
            "evaluate",
            self,
            (
                ("scenario", self.scenario in TASKS["power"].scenarios, f"one of {known}"),
                ("episodes", 1 <= self.episodes <= 100_000, "1 to 100000"),
                ("seed", self.seed >= 0, "0 or more"),
            ),
        )

    @property
    def slots(self) -> int:
        """Slots to simulate, all policies together."""
        policies = len(POWER_HEURISTICS) + (self.bundle is not None)
        return policies * TASKS["power"].scenarios[self.scenario].networks[0].slots

    def run(self, progress: Callable[[int], None]) -> dict[str, Any]:
        """Return scores and figures of merit of all policies as plain data.

        Args:
            progress: Called with the slots done.

        Raises:
            BundleError: The bundle does not load.
        """
        policies = make_heuristics()
        if self.bundle is not None:
            policies[BundlePolicy.name] = BundlePolicy(
                load_power_bundle(self.bundle), seed=self.seed
            )
        random = np.random.default_rng((SEED_DOMAIN, self.seed))
        seeds = random.choice(2**31, size=self.episodes, replace=False).tolist()
        network = PowerNetwork()
        results = run_policies(policies, network, seeds, progress)
        return {
            "scenario": self.scenario,
            "episodes": self.episodes,
            "seed": self.seed,
            "score": scores(results),
            "kpis": {name: result.means() for name, result in results.items()},
        }
