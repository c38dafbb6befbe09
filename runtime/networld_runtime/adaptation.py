"""Adaptation on the device: the policy's adapter, trained by imagination on what a star of cells saw.

No reward is needed. The bundle's gradient graph holds the credit model by which the policy was trained; it
knows what every cell of a slot would earn by what all of them do. AdamW in NumPy moves the policy's part of
the adapter to where the cell and its neighbours, all acting by it, would earn most.

The guardrail: the adapter is trained on the earlier slots of the logs and judged on the latest ones, which
it never saw. What the likeliest actions of all cells would be worth there, before and after, is compared
slot by slot, so that the luck of the slots falls out. Slots near each other are alike, so the error of the
mean gain is taken over blocks of slots; the adapter is thrown away if it loses more than that error, or if it
moves actions far away from the base model's. To ask
for a gain beyond the error threw most of the good adapters away (docs/lab-notes.md): so few slots do not
show a gain that all later slots have.
The credit model is both teacher and judge: the guardrail sees what does not carry over to other slots, not
where the credit model itself is wrong. `base` takes an adapter back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from networld_runtime.bundle import ASKED, STAR, Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.divergence import mean_divergence
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.errors import BundleError, DataError, check_values
from networld_runtime.files import write_atomically
from networld_runtime.log_file import read_logs
from networld_runtime.optimiser import AdamW, one_cycle
from networld_runtime.sessions import Session
from networld_runtime.star import Star, make_star

BLOCKS = 8
"""Into so many stretches the query slots are cut to see how much their gain varies."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AdaptationSettings:
    """How the adapter is trained.

    Attributes:
        steps: Optimiser steps, at most.
        passes: How often a slot is drawn on average, at most: fewer slots take fewer steps, or they would be
            learned by heart.
        learning_rate: Peak of a one-cycle schedule that ends at zero.
        weight_decay: AdamW's pull towards zero, the base model.
        gradient_norm: Largest gradient norm; longer gradients are scaled down.
        query_share: Share of the slots that is only used to judge, the latest ones.
        minimum_slots: Fewer slots than this are not worth a try.
        largest_norm: Length that the adapter is kept to: adapters that help are a third of it at most.
        largest_divergence: How far actions may move from the base model's on average, 0 to 1; an adapter that
            moves them further is thrown away.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 200
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    query_share: float = 0.25
    minimum_slots: int = 64
    passes: int = 40
    largest_norm: float = 5.0
    largest_divergence: float = 0.4

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
                ("passes", 1 <= self.passes <= 100_000, "1 to 100000"),
                ("largest_norm", self.largest_norm > 0, "above 0"),
                ("largest_divergence", 0 < self.largest_divergence <= 1, "above 0, at most 1"),
                ("minimum_slots", self.minimum_slots >= 2 * BLOCKS, f"at least {2 * BLOCKS}"),
            ),
        )


def settings_for(bundle: Bundle, changes: Mapping[str, Any] | None = None) -> AdaptationSettings:
    """Return what a bundle recommends, changed by what somebody asks for.

    Raises:
        BundleError: The bundle recommends something that is no setting.
        ConfigError: A value is out of range.
    """
    try:
        return AdaptationSettings(**{**bundle.adaptation, **(changes or {})})
    except TypeError as error:
        raise BundleError(
            str(bundle.path), f"adaptation settings: {error}; export again"
        ) from error


@dataclass(frozen=True)
class AdaptationReport:
    """What came of an adaptation.

    Attributes:
        accepted: Whether the adapter is to be used.
        reason: Why, or why not.
        worth_before: Mean over the query slots of what the base model's actions are worth to all cells,
            in typical credits.
        worth_after: The same with the adapter.
        gain_error: Standard error of the difference.
        norm: Length of the adapter.
        divergence: How far actions move from the base model's on average, 0 to 1.
        steps: Optimiser steps done.
        slots: Slots that were put together from the logs.
        cells: Cells whose logs were used, the own one among them.
        seconds: Wall time.
    """

    accepted: bool
    reason: str
    worth_before: float
    worth_after: float
    gain_error: float
    norm: float
    divergence: float
    steps: int
    slots: int
    cells: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON data; what is not finite becomes None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def adapt(
    bundle: Bundle,
    name: str,
    logs_path: Path,
    output: Path,
    settings: AdaptationSettings,
    seed: int,
) -> AdaptationReport:
    """Train an adapter on a file of logs and save it to `output` if it is accepted.

    Raises:
        DataError: The logs are missing, damaged, of another contract or not of this cell.
        BundleError: The gradient graph does not load.
    """
    logs = read_logs(logs_path, bundle.contract, bundle.couplings)
    if not logs.get(name):
        raise DataError(str(logs_path), f"holds no logs of {name}; collect some first")
    adapter, report = adapt_to_logs(bundle, name, logs, settings, seed)
    if adapter is not None:
        save_adapter(output, adapter, bundle)
    return report


def adapt_to_logs(
    bundle: Bundle,
    name: str,
    logs: Mapping[str, Sequence[EpisodeLog]],
    settings: AdaptationSettings,
    seed: int = 0,
) -> tuple[FloatArray | None, AdaptationReport]:
    """Train an adapter on the logs of a star in memory.

    Args:
        bundle: A checked bundle.
        name: The cell that adapts.
        logs: Its logs and those of its neighbours, by name; neighbours may be missing.
        settings: How it is trained.
        seed: Draws slots and choices.

    Returns:
        The adapter, None if it is not accepted, and the report.

    Raises:
        ValueError: There are no logs of the cell itself, or it has too many neighbours.
        BundleError: The gradient graph does not load.
    """
    begin_s = time.monotonic()
    star = make_star(bundle.contract, bundle.couplings, name, logs)
    support, query = _split(len(star), settings.query_share)
    cells = int(star.known.sum())
    if len(star) < settings.minimum_slots:
        reason = f"{len(star)} slots, at least {settings.minimum_slots} are needed"
        return None, AdaptationReport(
            False, reason, 0.0, 0.0, 0.0, 0.0, 0.0, 0, len(star), cells, time.monotonic() - begin_s
        )
    trainer = _Trainer(bundle.session("gradient"), bundle.adaptation_batch)
    base = np.zeros(bundle.adapter_size, dtype=np.float32)
    before = trainer.worth(base, star.some(query))
    steps = min(settings.steps, math.ceil(settings.passes * len(support) / trainer.batch))
    settings = replace(settings, steps=steps)
    adapter = trainer.train(base, star.some(support), settings, seed)
    after = trainer.worth(adapter, star.some(query))

    gain = after - before
    blocks = [block.mean() for block in np.array_split(gain, min(BLOCKS, len(gain)))]
    error = float(np.std(blocks, ddof=1) / np.sqrt(len(blocks)))
    divergence = mean_divergence(bundle, adapter, star.some(query))
    objection = _objection(float(gain.mean()), error, divergence, settings)
    report = AdaptationReport(
        accepted=objection is None,
        reason=objection or "worth did not fall",
        worth_before=float(before.mean()),
        worth_after=float(after.mean()),
        gain_error=error,
        norm=float(np.linalg.norm(adapter)),
        divergence=divergence,
        steps=settings.steps,
        slots=len(star),
        cells=cells,
        seconds=time.monotonic() - begin_s,
    )
    return (None if objection else adapter), report


def _objection(
    gain: float, error: float, divergence: float, settings: AdaptationSettings
) -> str | None:
    """Return why an adapter is thrown away, None if it is not."""
    if not np.isfinite([gain, error, divergence]).all():
        return "not finite"
    if divergence > settings.largest_divergence:
        return f"actions move too far from the base model's ({divergence:.2f})"
    return None if gain > -error else "worth fell"


def _split(count: int, query_share: float) -> tuple[Indices, Indices]:
    """Return the support and the query slots; the one between them is in neither.

    A slot comes with what was seen in the slot before it, so the next to the last support slot would
    share it with the first query slot.
    """
    first_query = count - max(2, round(query_share * count))
    return np.arange(max(0, first_query - 1)), np.arange(max(0, first_query), count)


class _Trainer:
    """Batches of stars through the gradient graph."""

    def __init__(self, gradient: Session, batch: int) -> None:
        self.gradient = gradient
        self.batch = batch

    def train(
        self, adapter: FloatArray, support: Star, settings: AdaptationSettings, seed: int
    ) -> FloatArray:
        """Return the adapter after `settings.steps` steps on random batches."""
        random = np.random.default_rng(seed)
        optimiser = AdamW(adapter.size, settings.weight_decay)
        for step in range(settings.steps):
            chosen = random.integers(len(support), size=self.batch)
            draw = random.random((self.batch, *support.mask.shape[1:]), dtype=np.float32)
            asked = _some_cells(random, self.batch, support.known)
            _, gradient = self._run(adapter, support.some(chosen), draw, asked)
            norm = float(np.linalg.norm(gradient))
            gradient = gradient * np.float32(min(1.0, settings.gradient_norm / max(norm, 1e-12)))
            rate = settings.learning_rate * one_cycle(step / settings.steps)
            adapter = optimiser.step(adapter, gradient, rate)
            length = float(np.linalg.norm(adapter))
            adapter = adapter * np.float32(min(1.0, settings.largest_norm / max(length, 1e-12)))
        return adapter

    def worth(self, adapter: FloatArray, star: Star) -> FloatArray:
        """Return what the likeliest actions are worth in each slot to all cells together `[T]`."""
        parts = []
        anyone = np.zeros((self.batch, ASKED, STAR), dtype=np.float32)
        for start in range(0, len(star), self.batch):
            part = star.some(np.arange(start, min(start + self.batch, len(star))))
            draw = np.full((len(part), *part.mask.shape[1:]), 0.5, dtype=np.float32)
            parts.append(self._run(adapter, part, draw, anyone)[0])
        return np.concatenate(parts)

    def _run(
        self, adapter: FloatArray, star: Star, uniform: FloatArray, asked: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the worth of each slot and the gradient; a short batch is filled up with its own slots."""
        count = len(star)
        filled = np.resize(np.arange(count), self.batch)
        whole = star.some(filled)
        _, worth, gradient = self.gradient.run(
            in_observation=whole.observation,
            in_before=whole.before,
            in_coupling=whole.coupling,
            in_around=whole.around,
            in_mask=whole.mask,
            in_uniform=uniform[filled],
            in_weight=np.tile(star.known, (self.batch, 1)),
            in_asked=asked,
            in_adapter=adapter,
        )
        return worth[:count], gradient


def _some_cells(random: np.random.Generator, count: int, known: FloatArray) -> FloatArray:
    """Draw cells whose alternatives are weighed, one-hot `[count, ASKED, STAR]`; known ones before others."""
    order = np.argsort(random.random((count, STAR)) - known, axis=-1)[:, :ASKED]
    return np.eye(STAR, dtype=np.float32)[order]


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
