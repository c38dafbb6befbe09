"""Which episodes an evaluation is about: the same for every policy, never those of a data set."""

from __future__ import annotations

import numpy as np

# Keeps the episodes that are judged apart from all others that are drawn from a small seed.
SEED_DOMAIN = 0x6576616C
# Data sets and demonstrations draw their episodes below it.
LOWEST_SEED = 2**32


def draw_seeds(episodes: int, seed: int, networks: int = 1) -> list[int]:
    """Return the seeds of an evaluation's episodes, all different.

    Episode i takes place in network i modulo `networks`, so that each has its even share. Seeds are at
    least 2^32, where no data set and no demonstration has any.

    Args:
        episodes: Number of episodes.
        seed: Seed of the evaluation.
        networks: Networks of the scenario.
    """
    random = np.random.default_rng((SEED_DOMAIN, seed))
    drawn = random.choice(2**31, size=episodes, replace=False)
    return [
        LOWEST_SEED * networks + int(one) * networks + i % networks for i, one in enumerate(drawn)
    ]
