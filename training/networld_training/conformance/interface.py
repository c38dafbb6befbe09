"""Checks of what a task shows and takes: interface, observations, masks, actions, order of calls."""

from __future__ import annotations

import copy
import math

import numpy as np

from networld_training.conformance.records import difference
from networld_training.conformance.task_subject import TaskSubject, valid_action
from networld_training.conformance.verdict import NotApplicableError, ViolationError, check_array
from networld_training.radio.arrays import BoolArray, FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.spec import Action, ActionError, Choice, native_bounds

MASKED_SLOTS = 5
"""Slots in which all valid choices are tried."""


def interface_is_sane(subject: TaskSubject) -> None:
    """Names are unique, ranges are finite and not empty, and the network has the interface's slot."""
    task = subject.task()
    spec = task.spec
    problems = []
    for kind, ranged in (("feature", spec.features), ("message entry", spec.message)):
        problems += [
            f"{kind} {one.name} = {one.low:g} to {one.high:g}: expected low below high, both finite"
            for one in ranged
            if not (math.isfinite(one.low) and math.isfinite(one.high) and one.low < one.high)
        ]
    for kind, named in (
        ("features", spec.features),
        ("message entries", spec.message),
        ("actions", spec.actions),
        ("kpis", spec.kpis),
    ):
        names = [one.name for one in named]
        if not names:
            problems.append(f"{kind}: there is none")
        problems += [f"{kind}: {name!r} twice" for name in {n for n in names if names.count(n) > 1}]
    if sum(isinstance(action, Choice) and action.masked for action in spec.actions) > 1:
        problems.append("actions: more than one choice is masked")
    if spec.slot_s != subject.network.slot_s:
        problems.append(f"slot_s = {spec.slot_s:g}, but {subject.network.slot_s:g} in the network")
    if problems:
        raise ViolationError("; ".join(problems))


def observations_fit(subject: TaskSubject) -> None:
    """Observations are finite float32 `[E, K, D]` in every slot, returned as they are kept."""
    task = subject.task()
    expected = (*task.shape, len(task.spec.features))
    check_array("reset", task.reset(), expected, np.float32)
    for played, outcome in subject.slots():
        where = f"slot {played.slot}"
        check_array(where, outcome.observation, expected, np.float32)
        if not np.array_equal(outcome.observation, played.observation):
            raise ViolationError(f"{where}: step returned other observations than task.observation")
        for name, values in outcome.details.items():
            check_array(f"{where}, detail {name}", values, task.shape)


def feature_ranges_fit(subject: TaskSubject) -> None:
    """Most values of each feature lie within its range, widened by a quarter on each side."""
    spec = subject.task().spec
    low = np.array([feature.low for feature in spec.features])
    high = np.array([feature.high for feature in spec.features])
    seen = np.stack([record["observation"] for record in subject.reference])
    margin = (high - low) / 4
    outside = ((seen < low - margin) | (seen > high + margin)).mean(axis=(0, 1, 2))
    problems = [
        f"{feature.name}: {share:.0%} of the values outside {feature.low:g} to {feature.high:g}"
        for feature, share in zip(spec.features, outside, strict=True)
        if share > 0.5
    ]
    if problems:
        raise ViolationError("; ".join(problems))


def masks_hold(subject: TaskSubject) -> None:
    """Masks are bool `[E, K, A]` with a valid choice for every cell, and say what `step` takes."""
    spec = subject.task().spec
    index = next(
        (i for i, a in enumerate(spec.actions) if isinstance(a, Choice) and a.masked), None
    )
    task = subject.begun()
    if index is None:
        if task.action_mask is not None:
            raise ViolationError(
                "there is an action mask, but no Choice of the spec has masked=True"
            )
        raise NotApplicableError("no choice is masked")
    refused = False
    for _ in range(subject.network.slots):
        mask = _checked_mask(task)
        if task.slot < MASKED_SLOTS:
            _try_valid_choices(task, mask, index)
        if not refused and not mask.all():
            _try_invalid_choice(task, mask, index)
            refused = True
        task.step(valid_action(task))
    _checked_mask(task)


def good_actions_are_taken(subject: TaskSubject) -> None:
    """Every bound of an action, "off" and every choice that is not masked is taken."""
    begun = subject.begun()
    for index, component in enumerate(begun.spec.actions):
        if isinstance(component, Choice) and component.masked:
            continue  # another check
        for value in _edges(component):
            action = valid_action(begun)
            action[..., index] = value
            _must_take(begun, action, f"{component.name} = {value:g}")


def bad_actions_are_refused(subject: TaskSubject) -> None:
    """NaN, values out of range, broken choices and wrong shapes raise ActionError and change nothing."""
    run = subject.run()
    run.reset()
    good = valid_action(run.instance)
    for index, component in enumerate(run.instance.spec.actions):
        low, high = native_bounds(component)
        step = 1.0 if isinstance(component, Choice) else (high - low) / 100
        bad = [math.nan, math.inf, low - step, high + step]
        bad += [0.5] if isinstance(component, Choice) else []
        for value in bad:
            action = good.copy()
            action[-1, -1, index] = value
            _must_refuse(run.instance, action, f"{component.name} = {value:g}")
    _must_refuse(run.instance, good[:, 1:], f"shape {good[:, 1:].shape}")
    problem = difference([run.step()], subject.reference[1:2], 1)
    if problem is not None:
        raise ViolationError(f"refused actions left a trace: {problem}")


def length_is_kept(subject: TaskSubject) -> None:
    """Episodes are done in slot `network.slots`, and not before."""
    slots = subject.network.slots
    for number, (task, outcome) in enumerate(subject.slots(), 1):
        if task.slot != number:
            raise ViolationError(f"task.slot is {task.slot} after {number} slots")
        if bool(outcome.done) != (number == slots):
            raise ViolationError(f"done is {outcome.done} after {number} of {slots} slots")


def order_is_demanded(subject: TaskSubject) -> None:
    """A step before `reset`, and one after the end, raise ActionError."""
    begun = subject.begun()
    _must_refuse(subject.task(), valid_action(begun), "a step before reset")
    ended, action = begun, valid_action(begun)
    for task, _ in subject.slots():
        ended, action = task, valid_action(task)
    _must_refuse(ended, action, "a step after the end")


def _checked_mask(task: Task) -> BoolArray:
    expected = (*task.shape, task.spec.mask_size)
    mask = task.action_mask
    if mask is None or mask.shape != expected or mask.dtype != np.bool_:
        found = "None" if mask is None else f"{mask.dtype} {mask.shape}"
        raise ViolationError(f"slot {task.slot}: action_mask is {found}, expected bool {expected}")
    if not mask.any(axis=-1).all():
        episode, cell = (int(i) for i in np.argwhere(~mask.any(axis=-1))[0])
        raise ViolationError(
            f"slot {task.slot}: no choice is valid for cell {cell}, episode {episode}"
        )
    return mask


def _try_valid_choices(task: Task, mask: BoolArray, index: int) -> None:
    for choice in range(mask.shape[-1]):
        action = valid_action(task)
        action[..., index] = np.where(mask[..., choice], choice, action[..., index])
        _must_take(task, action, f"choice {choice}, which the mask allows in slot {task.slot},")


def _try_invalid_choice(task: Task, mask: BoolArray, index: int) -> None:
    episode, cell, choice = (int(i) for i in np.argwhere(~mask)[0])
    action = valid_action(task)
    action[episode, cell, index] = choice
    masked_out = f"choice {choice}, which the mask forbids in slot {task.slot},"
    _must_refuse(copy.deepcopy(task), action, masked_out)


def _edges(component: Action) -> list[float]:
    if isinstance(component, Choice):
        return [float(index) for index in range(component.size)]
    return [component.low, component.high, *([] if component.off is None else [component.off])]


def _must_take(task: Task, action: FloatArray, what: str) -> None:
    try:
        copy.deepcopy(task).step(action)
    except ActionError as error:
        raise ViolationError(f"{what} was refused: {error}") from error


def _must_refuse(task: Task, action: FloatArray, what: str) -> None:
    slot = task.slot
    try:
        task.step(action)
    except ActionError:
        if task.slot != slot:
            raise ViolationError(f"{what} moved slot {slot} to {task.slot}") from None
        return
    except Exception as error:
        raise ViolationError(f"{what}: {type(error).__name__}, expected ActionError") from error
    raise ViolationError(f"{what} was taken, expected ActionError")
