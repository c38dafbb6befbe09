"""Two-hot coding: a number as weights on its two nearest bins, and back as an expectation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import ActionBins, FloatArray, ReturnBins


def encode(values: npt.ArrayLike, low: float, high: float, count: int) -> FloatArray:
    """Return two-hot weights `[..., count]` of `values` on `count` bins from `low` to `high`.

    Values outside the range are put on the nearest edge.
    """
    position = (np.asarray(values, dtype=np.float64) - low) / (high - low) * (count - 1)
    position = np.clip(position, 0, count - 1)
    left = np.minimum(np.floor(position).astype(np.int64), count - 2)
    weight = position - left
    bins = np.arange(count)
    coded = (bins == left[..., None]) * (1 - weight)[..., None]
    coded = coded + (bins == left[..., None] + 1) * weight[..., None]
    return np.asarray(coded, dtype=np.float32)


def decode(weights: npt.ArrayLike, low: float, high: float) -> FloatArray:
    """Return the expectation `[...]` of two-hot weights or probabilities `[..., count]`."""
    weights = np.asarray(weights, dtype=np.float32)
    centres = np.linspace(low, high, weights.shape[-1], dtype=np.float32)
    return np.asarray(weights @ centres, dtype=np.float32)


def encode_return(returns: npt.ArrayLike, bins: ReturnBins) -> FloatArray:
    """Return the two-hot target `[..., R]` of discounted returns."""
    return encode(returns, bins.low, bins.high, bins.count)


def encode_action(action: npt.ArrayLike, bins: ActionBins) -> FloatArray:
    """Return the two-hot target `[..., A]` of native actions; "off" is bin 0 where there is one."""
    action = np.asarray(action, dtype=np.float32)
    ordered = encode(action, bins.low, bins.high, bins.count)
    if bins.off is None:
        return ordered
    off = (action < bins.low)[..., None]
    return np.concatenate([off, np.where(off, 0, ordered)], axis=-1).astype(np.float32)


def decode_action(probabilities: npt.ArrayLike, bins: ActionBins) -> FloatArray:
    """Return native actions `[...]` of bin probabilities `[..., A]`.

    "Off" wins when it is at least as likely as everything else together; otherwise the action is the
    expectation over the ordered bins alone, so that the two never mix into a value that neither meant.
    """
    probabilities = np.asarray(probabilities, dtype=np.float32)
    if bins.off is None:
        return decode(probabilities, bins.low, bins.high)
    ordered = probabilities[..., 1:]
    total = np.maximum(ordered.sum(axis=-1, keepdims=True), 1e-9)
    value = decode(ordered / total, bins.low, bins.high)
    return np.where(probabilities[..., 0] >= 0.5, np.float32(bins.off), value).astype(np.float32)
