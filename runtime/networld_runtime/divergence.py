"""How far an adapter moves what a cell does, whatever it is said to be worth."""

from __future__ import annotations

import numpy as np

from networld_runtime.bundle import Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.star import Star

LOOKED_AT = 128
"""Slots that are looked at, at most; more say the same and take time."""


def mean_divergence(bundle: Bundle, adapter: FloatArray, star: Star) -> float:
    """Return how far the cell's actions by an adapter are from those of the base model, 0 to 1.

    That is the total variation distance between the probabilities of both, the mean over the components of
    an action and over slots.

    Args:
        bundle: Its policy acts.
        adapter: The adapter `[P]`.
        star: Slots of the cell and its neighbours.

    Raises:
        BundleError: The encoder or the policy does not load.
    """
    encoder, policy = bundle.session("encoder"), bundle.session("policy")
    size = bundle.contract.message_size
    base = np.zeros_like(adapter)
    neighbours = [index for index in range(1, len(star.known)) if star.known[index]]
    distances = []
    for slot in np.linspace(0, len(star) - 1, min(LOOKED_AT, len(star))).astype(int):
        (latent,) = encoder.run(in_observation=star.observation[slot, :1])
        told = [
            encoder.run(in_observation=star.before[slot, index : index + 1])[0][0, :size]
            for index in neighbours
        ]
        field = np.zeros((1, size + 1), dtype=np.float32)
        if told:
            field[0, :size], field[0, size] = np.mean(told, axis=0), 1.0
        now = {"in_latent": latent, "in_mean_field": field}
        before, after = (policy.run(in_adapter=one, **now)[0] for one in (base, adapter))
        distances.append(0.5 * np.abs(after - before).sum() / len(bundle.contract.actions))
    return float(np.mean(distances))
