"""Random streams by purpose, so that policies can be compared on identical randomness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Streams:
    """Independent generators of one episode.

    Each purpose draws from its own stream: a policy that asks for random numbers, or a task without
    traffic, leaves the channel of the episode untouched.

    Attributes:
        topology: User positions, line-of-sight thresholds and initial shadowing.
        fading: Fast fading.
        mobility: Directions of movement and how shadowing changes on the way.
        traffic: Arrivals.
        policy: Exploration and random policies.
    """

    topology: np.random.Generator
    fading: np.random.Generator
    mobility: np.random.Generator
    traffic: np.random.Generator
    policy: np.random.Generator


def spawn_streams(seed: int) -> Streams:
    """Return the streams of the episode with this seed (a non-negative integer)."""
    children = np.random.SeedSequence(seed).spawn(5)
    return Streams(*(np.random.default_rng(child) for child in children))
