"""A bundle beside every heuristic, on identical drops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.bundle import load_bundle
from networld_runtime.errors import ConfigError
from networld_training.environments.rollout import Policy
from networld_training.evaluation.bundle_policy import BundlePolicy
from networld_training.evaluation.drops import run_policies, scores
from networld_training.tasks.power import POWER_SCENARIOS
from networld_training.tasks.power_heuristics import HEURISTICS

# Keeps the drops that are judged apart from those that are trained on.
SEED_DOMAIN = 0x6576616C


def compare(
    bundle: Path | None,
    scenario: str,
    episodes: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Return scores and figures of merit of all policies on the same drops.

    Args:
        bundle: Folder of a bundle; None judges the heuristics alone.
        scenario: Name of a scenario, a key of `POWER_SCENARIOS`.
        episodes: Number of drops.
        seed: Seed that the drops are drawn from.
        progress: Called with the slots done and their total.

    Returns:
        Plain data: `scenario`, `episodes`, `seed`, `score` and `kpis` by policy.

    Raises:
        ConfigError: The scenario is unknown or the number of episodes below 1.
        BundleError: The bundle does not load.
    """
    problems = []
    if scenario not in POWER_SCENARIOS:
        known = ", ".join(sorted(POWER_SCENARIOS))
        problems.append(f"--scenario {scenario!r}: expected one of {known}")
    if episodes < 1:
        problems.append(f"--episodes {episodes}: expected at least 1")
    if seed < 0:
        problems.append(f"--seed {seed}: expected 0 or more")
    if problems:
        raise ConfigError("evaluate", problems)

    policies: dict[str, Policy] = dict(HEURISTICS)
    if bundle is not None:
        policies[BundlePolicy.name] = BundlePolicy(load_bundle(bundle, "power"), seed=seed)
    random = np.random.default_rng((SEED_DOMAIN, seed))
    seeds = random.choice(2**31, size=episodes, replace=False).tolist()
    results = run_policies(policies, POWER_SCENARIOS[scenario], seeds, progress)
    return {
        "scenario": scenario,
        "episodes": episodes,
        "seed": seed,
        "score": scores(results),
        "kpis": {name: result.means() for name, result in results.items()},
    }
