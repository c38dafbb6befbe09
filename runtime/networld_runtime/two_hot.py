"""Two-hot coding: a number as weights on its two nearest bins, and back as an expectation.

An action is coded component by component, side by side: numbers two-hot, choices one-hot.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import Action, ActionBins, BoolArray, Choice, FloatArray, ReturnBins


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
    return np.asarray(weights @ _centres(low, high, weights.shape[-1]), dtype=np.float32)


def encode_return(returns: npt.ArrayLike, bins: ReturnBins) -> FloatArray:
    """Return the two-hot target `[..., R]` of discounted returns."""
    return encode(returns, bins.low, bins.high, bins.count)


def encode_actions(native: npt.ArrayLike, actions: Sequence[Action]) -> FloatArray:
    """Return the target `[..., A]` of native actions `[..., C]`."""
    native = np.asarray(native, dtype=np.float32)
    coded = [
        _one_hot(native[..., index], action)
        if isinstance(action, Choice)
        else encode_bins(native[..., index], action)
        for index, action in enumerate(actions)
    ]
    return np.concatenate(coded, axis=-1)


def decode_actions(
    probabilities: npt.ArrayLike, actions: Sequence[Action], mask: BoolArray | None = None
) -> FloatArray:
    """Return native actions `[..., C]` of probabilities `[..., A]`, NaN for what is not finite.

    Args:
        probabilities: Those of the components side by side.
        actions: The components.
        mask: Valid choices of the masked component `[..., mask_size]`; None if all are.
    """
    probabilities = np.asarray(probabilities, dtype=np.float32)
    native = np.empty((*probabilities.shape[:-1], len(actions)), dtype=np.float32)
    start = 0
    for index, action in enumerate(actions):
        part = probabilities[..., start : start + action.size]
        start += action.size
        if isinstance(action, Choice):
            native[..., index] = _likeliest(part, mask if action.masked else None)
        else:
            native[..., index] = decode_bins(part, action)
    return native


def encode_mask(mask: npt.ArrayLike, actions: Sequence[Action]) -> FloatArray:
    """Return 1 for the entries of coded actions `[..., A]` that were possible, else 0.

    Args:
        mask: Valid choices of the masked component `[..., mask_size]`; of size 0 if there is none.
        actions: The components.
    """
    valid = np.asarray(mask, dtype=np.float32)
    every = np.ones(valid.shape[:-1], dtype=np.float32)[..., None]
    parts = [
        valid if isinstance(action, Choice) and action.masked else np.repeat(every, action.size, -1)
        for action in actions
    ]
    return np.concatenate(parts, axis=-1)


def encode_bins(values: npt.ArrayLike, bins: ActionBins) -> FloatArray:
    """Return the two-hot target `[..., bins]` of native values; "off" is bin 0 where there is one."""
    values = np.asarray(values, dtype=np.float32)
    ordered = encode(values, bins.low, bins.high, bins.count)
    if bins.off is None:
        return ordered
    off = np.asarray(values < np.float32(bins.low))[..., None]
    return np.concatenate([off, np.where(off, 0, ordered)], axis=-1).astype(np.float32)


def decode_bins(probabilities: npt.ArrayLike, bins: ActionBins) -> FloatArray:
    """Return native values `[...]` of bin probabilities `[..., bins]`.

    "Off" wins when it is at least as likely as everything else together; otherwise the value is the
    expectation over the ordered bins alone, so that the two never mix into a value that neither meant.
    """
    probabilities = np.asarray(probabilities, dtype=np.float32)
    ordered = probabilities if bins.off is None else probabilities[..., 1:]
    total = np.maximum(ordered.sum(axis=-1), np.float32(1e-9))
    mean = ordered @ _centres(bins.low, bins.high, bins.count) / total
    # rounding must not leave the range: below it is "off", above it nothing is allowed; np.clip is slower
    value = np.minimum(np.maximum(mean, np.float32(bins.low)), np.float32(bins.high))
    if bins.off is not None:
        value = np.where(probabilities[..., 0] >= 0.5, np.float32(bins.off), value)
    return np.asarray(value, dtype=np.float32)


@lru_cache(maxsize=64)
def _centres(low: float, high: float, count: int) -> FloatArray:
    """Return the values of bins `[count]`, which every decision asks for."""
    centres = np.linspace(low, high, count, dtype=np.float32)
    centres.flags.writeable = False
    return centres


def _one_hot(index: FloatArray, choice: Choice) -> FloatArray:
    return np.asarray(np.arange(choice.size) == index[..., None], dtype=np.float32)


def _likeliest(probabilities: FloatArray, mask: BoolArray | None) -> FloatArray:
    """Return the index `[...]` of the likeliest choice that the mask allows."""
    finite = np.isfinite(probabilities).all(axis=-1)
    if mask is not None:
        probabilities = np.where(mask, probabilities, -1)
    return np.where(finite, probabilities.argmax(axis=-1), np.nan).astype(np.float32)
