"""Fine-tuning on the device: AdamW in NumPy over the gradient graph, kept only if it helps.

The experience is split into support and query windows. The adapter is trained on the support windows; it
is accepted only if the loss of the query windows, which it never saw, is lower than with the base model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from networld_runtime.bundle import Bundle
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import ConfigError, DataError, check_values
from networld_runtime.experience import Windows, load_windows
from networld_runtime.files import write_atomically
from networld_runtime.levels import HIGHEST_LEVEL, LOWEST_LEVEL
from networld_runtime.optimiser import AdamW, one_cycle
from networld_runtime.sessions import Session
from networld_runtime.two_hot import encode_actions, encode_return

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AdaptationSettings:
    """How the adapter is trained.

    Attributes:
        steps: Optimiser steps.
        learning_rate: Peak of a one-cycle schedule that ends at zero.
        weight_decay: AdamW's pull towards zero, the base model.
        gradient_norm: Largest gradient norm; longer gradients are scaled down.
        query_share: Share of the windows that is only used to judge, the latest ones.
        minimum_windows: Fewer windows than this are not worth a try.
        parts: Networks whose part of the adapter is trained. The classifier is not among them: a cell's
            own slots hold what its policy did and nothing else, and a classifier that is trained on them
            predicts those better and ranks all other actions worse.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 200
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    query_share: float = 0.25
    minimum_windows: int = 64
    parts: tuple[str, ...] = ("denoiser", "inverse")

    def __post_init__(self) -> None:
        check_values(
            "adaptation settings",
            self,
            (
                ("steps", 1 <= self.steps <= 100_000, "1 to 100000"),
                ("learning_rate", 0 < self.learning_rate <= 1, "above 0, at most 1"),
                ("weight_decay", 0 <= self.weight_decay <= 1, "0 to 1"),
                ("gradient_norm", self.gradient_norm > 0, "above 0"),
                ("query_share", 0.05 <= self.query_share <= 0.9, "0.05 to 0.9"),
                ("minimum_windows", self.minimum_windows >= 2, "at least 2"),
            ),
        )


@dataclass(frozen=True)
class AdaptationReport:
    """What came of an adaptation; losses are means over the query windows."""

    accepted: bool
    reason: str
    query_loss_before: float
    query_loss_after: float
    steps: int
    windows: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON data; a loss that is not finite becomes None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def adapt(
    bundle: Bundle,
    experience_path: Path,
    output: Path,
    settings: AdaptationSettings,
    seed: int = 0,
) -> AdaptationReport:
    """Train an adapter on a cell's own experience and save it to `output` if it is accepted.

    Raises:
        DataError: The experience is missing, damaged or of another contract.
        BundleError: The gradient graph does not load.
    """
    begin_s = time.monotonic()
    windows = load_windows(experience_path, bundle.contract)
    count = len(windows.mean_field)
    support, query = _split(count, settings.query_share, bundle.contract.horizon)
    if count < settings.minimum_windows or not len(support):
        reason = f"{count} windows, at least {settings.minimum_windows} are needed"
        return AdaptationReport(False, reason, 0.0, 0.0, 0, count, time.monotonic() - begin_s)

    feeds = _feeds(windows, bundle.contract)
    trainer = _Trainer(
        bundle.session("gradient"), feeds, bundle.adaptation_batch, _mask(bundle, settings.parts)
    )
    base = np.zeros(bundle.adapter_size, dtype=np.float32)
    before = trainer.mean_loss(base, query, seed)
    adapter = trainer.train(base, support, settings, seed)
    after = trainer.mean_loss(adapter, query, seed)

    accepted = bool(np.isfinite(adapter).all() and after < before)
    reason = "query loss fell" if accepted else "query loss did not fall"
    if accepted:
        save_adapter(output, adapter, bundle)
    seconds = time.monotonic() - begin_s
    return AdaptationReport(accepted, reason, before, after, settings.steps, count, seconds)


def _split(count: int, query_share: float, horizon: int) -> tuple[Indices, Indices]:
    """Return the support and the query windows; no slot is in both, so a gap lies between them."""
    first_query = count - max(1, round(query_share * count))
    return np.arange(max(0, first_query - horizon)), np.arange(first_query, count)


def _mask(bundle: Bundle, parts: tuple[str, ...]) -> FloatArray:
    """Return 1 for the entries of the adapter that are trained, 0 for the others, `[P]`."""
    unknown = [part for part in parts if part not in bundle.adapter_parts]
    if unknown:
        known = ", ".join(bundle.adapter_parts)
        raise ConfigError("adaptation settings", f"parts = {parts}: this bundle has {known}")
    mask = np.zeros(bundle.adapter_size, dtype=np.float32)
    for part in parts:
        start, end = bundle.adapter_parts[part]
        mask[start:end] = 1
    return mask


class _Trainer:
    """Batches, losses and gradients of one set of windows."""

    def __init__(
        self, gradient: Session, feeds: dict[str, FloatArray], batch: int, mask: FloatArray
    ) -> None:
        self.gradient = gradient
        self.feeds = feeds
        self.batch = batch
        self.mask = mask

    def train(
        self,
        adapter: FloatArray,
        support: Indices,
        settings: AdaptationSettings,
        seed: int,
    ) -> FloatArray:
        """Return the adapter after `settings.steps` steps on random support batches."""
        random = np.random.default_rng(seed)
        optimiser = AdamW(adapter.size, settings.weight_decay)
        for step in range(settings.steps):
            chosen = random.choice(support, self.batch)
            _, gradient = self._evaluate(adapter, chosen, random)
            gradient = gradient * self.mask
            norm = float(np.linalg.norm(gradient))
            gradient = gradient * np.float32(min(1.0, settings.gradient_norm / max(norm, 1e-12)))
            rate = settings.learning_rate * one_cycle(step / settings.steps)
            adapter = optimiser.step(adapter, gradient, rate)
        return adapter

    def mean_loss(self, adapter: FloatArray, chosen: Indices, seed: int) -> float:
        """Return the mean loss over windows; the same seed draws the same noise, so losses compare."""
        random = np.random.default_rng(seed + 1)
        total = 0.0
        for part in _chunks(chosen, self.batch):
            loss, _ = self._evaluate(adapter, part, random)
            total += loss * len(part)
        return total / len(chosen)

    def _evaluate(
        self, adapter: FloatArray, chosen: Indices, random: np.random.Generator
    ) -> tuple[float, FloatArray]:
        padded = np.resize(chosen, self.batch)
        feeds = {name: values[padded] for name, values in self.feeds.items()}
        weight = (np.arange(self.batch) < len(chosen)).astype(np.float32)
        noise = random.standard_normal(feeds["in_plan"].shape, dtype=np.float32)
        level = random.uniform(LOWEST_LEVEL, HIGHEST_LEVEL, self.batch).astype(np.float32)
        loss, gradient = self.gradient.run(
            **feeds, in_noise=noise, in_level=level, in_weight=weight, in_adapter=adapter
        )
        return float(loss[0]), gradient


def _chunks(values: Indices, size: int) -> Iterator[Indices]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _feeds(windows: Windows, contract: Contract) -> dict[str, FloatArray]:
    """Return the gradient graph's inputs for all windows, targets two-hot."""
    discount = contract.discount ** np.arange(contract.horizon)
    return {
        "in_latent": windows.latents[:, 0],
        "in_plan": windows.latents[:, 1:],
        "in_mean_field": windows.mean_field,
        "in_action": encode_actions(windows.actions, contract.actions),
        "in_return": encode_return(windows.rewards @ discount, contract.returns),
    }


def save_adapter(path: Path, adapter: FloatArray, bundle: Bundle) -> None:
    """Write an adapter with the digest of the bundle that it belongs to; atomic.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        write_atomically(path, save({"adapter": adapter}, {"bundle": bundle.digest}))
    except OSError as error:
        raise DataError(str(path), f"cannot be written ({error.strerror})") from error


def load_adapter(path: Path, bundle: Bundle) -> FloatArray:
    """Read an adapter and check that it belongs to this bundle.

    Raises:
        DataError: The file is missing, damaged, not finite or of another bundle.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            adapter: FloatArray = file.get_tensor("adapter")
    except (OSError, SafetensorError) as error:
        raise DataError(str(path), f"not an adapter ({error}); adapt again") from error
    if metadata.get("bundle") != bundle.digest:
        raise DataError(str(path), "belongs to another bundle; adapt again with this one")
    if adapter.shape != (bundle.adapter_size,) or not np.isfinite(adapter).all():
        raise DataError(
            str(path),
            f"shape {adapter.shape}, expected ({bundle.adapter_size},) of finite values; adapt again",
        )
    return adapter.astype(np.float32)
