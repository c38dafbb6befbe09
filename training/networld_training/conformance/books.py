"""Checks of what a task tells, pays and measures, and that nothing is lost or made up."""

from __future__ import annotations

import numpy as np

from networld_runtime.contract import Feature
from networld_training.conformance.task_subject import TaskSubject, valid_action
from networld_training.conformance.verdict import NotApplicableError, ViolationError, check_array
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.messages import as_received

ZERO = 1e-3
"""Largest size that counts as zero in a balance, in the task's units."""


def messages_arrive(subject: TaskSubject) -> None:
    """What cells tell, mostly within its range, arrives one slot late, as int8; telling changes nothing."""
    task = subject.begun()
    if not np.isnan(task.received).all():
        raise ViolationError("something was received before the first slot")
    told = []
    for _ in range(subject.network.slots):
        before = task._tell()
        if before.shape != (*task.shape, len(task.spec.message)):
            expected = (*task.shape, len(task.spec.message))
            raise ViolationError(f"_tell returned {before.shape}, expected {expected}")
        if not np.array_equal(before, task._tell(), equal_nan=True):
            raise ViolationError(f"_tell said something else when asked twice in slot {task.slot}")
        if np.isinf(before).any():
            raise ViolationError(
                f"_tell returned an infinite value in slot {task.slot}; NaN is untold"
            )
        told.append(before.copy())
        task.step(valid_action(task))
        if not np.array_equal(
            task.received, as_received(told[-1], task.spec.message), equal_nan=True
        ):
            raise ViolationError(
                f"slot {task.slot} received something else than was told in the slot before"
            )
    _check_ranges(np.concatenate(told), task.spec.message)


def rewards_are_shared(subject: TaskSubject) -> None:
    """A reward is the mean of the utilities of the cell and its neighbours; credits are finite, too."""
    for task, outcome in subject.slots():
        shown = {"utility": outcome.utility, "reward": outcome.reward, "credit": outcome.credit}
        for name, values in shown.items():
            check_array(f"slot {task.slot}, {name}", values, task.shape)
        utility = outcome.utility.astype(np.float64)
        around = np.stack([utility[:, cells].sum(axis=1) for cells in task.neighbours], axis=1)
        expected = (utility + around) / (1 + task.neighbours.shape[1])
        tolerance = 1e-5 * max(float(np.abs(utility).max()), 1e-6)
        wrong = np.abs(outcome.reward - expected) > tolerance
        if wrong.any():
            episode, cell = (int(i) for i in np.argwhere(wrong)[0])
            raise ViolationError(
                f"slot {task.slot}: reward {outcome.reward[episode, cell]:g} of cell {cell}, "
                f"expected {expected[episode, cell]:g}, the mean utility of it and its neighbours"
            )


def couplings_fit(subject: TaskSubject) -> None:
    """Couplings are float32 `[E, K, 6, Q]` from 0, one for each name; reading them changes nothing."""
    names = subject.task().couplings
    if not names:
        raise NotApplicableError("the task names no couplings (Task.couplings)")
    task = subject.begun()
    for _, unread in subject.slots():
        where = f"slot {task.slot}, coupling"
        expected_shape = (task.shape[0], *task.neighbours.shape, len(names))
        check_array(where, task.coupling, expected_shape, np.float32)
        coupling = task.coupling.copy()
        if (coupling < 0).any():
            place = tuple(int(i) for i in np.argwhere(coupling < 0)[0])
            raise ViolationError(
                f"{where}: {coupling[place]:g} at {list(place)}, expected numbers from 0"
            )
        if not np.array_equal(coupling, task.coupling):
            raise ViolationError(f"{where}: something else when read twice")
        outcome = task.step(valid_action(task))
        for name in ("observation", "utility"):
            if not np.array_equal(getattr(outcome, name), getattr(unread, name)):
                raise ViolationError(f"{where}: once it is read, the slot has another {name}")


def metrics_are_complete(subject: TaskSubject) -> None:
    """`metrics` has every figure of merit of the interface and no other, finite, one for each episode."""
    names = {kpi.name for kpi in subject.task().spec.kpis}
    for task, _ in subject.slots():
        metrics = task.metrics()
        if metrics.keys() != names:
            odd = ", ".join(sorted(metrics.keys() ^ names))
            raise ViolationError(f"metrics and spec.kpis differ in {odd}")
        for name, values in metrics.items():
            check_array(f"slot {task.slot}, {name}", np.asarray(values), task.shape[:1])


def balance_is_zero(subject: TaskSubject) -> None:
    """Every quantity of `balance` is zero after every slot: nothing is lost or made up."""
    if not subject.begun().balance():
        raise NotApplicableError("the task keeps no books (Task.balance)")
    for task, _ in subject.slots():
        for name, values in task.balance().items():
            wrong = ~(np.abs(values) <= ZERO)  # NaN is wrong, too
            if np.any(wrong):
                worst = np.ravel(values)[np.ravel(wrong)][0]
                raise ViolationError(f"slot {task.slot}: {worst:g} {name} unaccounted for")


def _check_ranges(told: FloatArray, message: tuple[Feature, ...]) -> None:
    problems = []
    for index, entry in enumerate(message):
        values = told[..., index][~np.isnan(told[..., index])]
        share = np.mean((values < entry.low) | (values > entry.high)) if values.size else 0.0
        if share > 0.5:
            problems.append(
                f"{entry.name}: {share:.0%} of the values outside {entry.low:g} to {entry.high:g}"
            )
    if problems:
        raise ViolationError("; ".join(problems))
