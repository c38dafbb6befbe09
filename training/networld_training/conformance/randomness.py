"""Checks that the seed decides everything, alone: for tasks and for PettingZoo environments."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from networld_training.conformance.records import Record, Run, Subject, difference, play
from networld_training.conformance.task_subject import TaskRun, TaskSubject
from networld_training.conformance.verdict import ViolationError

ROUNDING = 1e-4
"""Relative difference that the order of summation may make in batches of another size."""


def same_seed_same_episode(subject: Subject) -> None:
    """Two fresh instances with the same seed show the same in every slot of an episode."""
    _same(play(subject.run()), subject.reference)


def other_seed_other_episode(subject: Subject) -> None:
    """Another seed is another episode."""
    if difference(play(subject.run(shift=1)), subject.reference) is None:
        raise ViolationError("episodes with different seeds are the same in every slot")


def reset_repeats(subject: Subject) -> None:
    """A reset in mid-episode, or after its end, starts the same episode again."""
    run = subject.run()
    run.reset()
    run.step()
    _same(play(run), subject.reference, "after a reset in mid-episode ")
    _same(play(run), subject.reference, "after a reset at the end ")


def no_global_randomness(subject: Subject) -> None:
    """Global generators (NumPy's, Python's, torch's) neither change an episode nor are changed by it."""
    expected = subject.reference
    with _global_state_kept():
        for poison in (1, 2):
            for seed in _global_generators().values():
                seed[0](poison)
            before = {name: state() for name, (_, state, _) in _global_generators().items()}
            _same(play(subject.run()), expected, "with other global seeds ")
            for name, state in before.items():
                if not _same_state(state, _global_generators()[name][1]()):
                    raise ViolationError(f"the state of {name} is another after an episode")


def instances_do_not_meet(subject: Subject) -> None:
    """Two instances that are stepped in turn show what each shows alone."""
    alone = play(subject.run(shift=1))
    run, other = subject.run(), subject.run(shift=1)
    found, found_other = [run.reset()], [other.reset()]
    while not (run.over and other.over):
        found += [run.step()] if not run.over else []
        found_other += [other.step()] if not other.over else []
    _same(found, subject.reference, "beside another instance ")
    _same(found_other, alone, "beside another instance ")


def copies_go_on(subject: Subject) -> None:
    """A deep copy, and one that was pickled, go on in mid-episode as the original does."""
    _check_copies(subject, "deep copy", copy.deepcopy)
    _check_copies(subject, "pickled copy", _through_bytes)


def batch_is_singles(subject: TaskSubject) -> None:
    """Each episode of a batch is the episode that its seed starts alone."""
    for index, seed in enumerate(subject.seeds):
        alone = play(TaskRun(subject.make(subject.network, [seed]), [seed]))
        for slot, (single, batch) in enumerate(zip(alone, subject.reference, strict=True)):
            for name, values in single.items():
                one = batch[name][index : index + 1] if values.ndim else batch[name]
                if values.shape != one.shape or not np.allclose(
                    values, one, rtol=ROUNDING, atol=1e-5, equal_nan=values.dtype.kind == "f"
                ):
                    raise ViolationError(
                        f"{name} of seed {seed} differs between a batch and alone after {slot} slots"
                    )


def _check_copies(subject: Subject, kind: str, duplicate: Callable[[Run], Run]) -> None:
    run = subject.run()
    run.reset()
    middle = len(subject.reference) // 2
    for _ in range(1, middle):
        run.step()
    try:
        twin = duplicate(run)
    except Exception as error:
        raise ViolationError(f"{kind}: cannot be made, {type(error).__name__}: {error}") from error
    rest = subject.reference[middle:]
    for one, whose in ((twin, f"the {kind}"), (run, f"the original beside its {kind}")):
        _same([one.step() for _ in rest], rest, f"{whose}: ", middle)


def _through_bytes(run: Run) -> Run:
    """Send a run through the pickle protocol, as multiprocessing would; reads its own bytes only."""
    loaded: Run = ForkingPickler.loads(bytes(ForkingPickler.dumps(run)))
    return loaded


def _same(found: list[Record], expected: list[Record], when: str = "", first_slot: int = 0) -> None:
    problem = difference(found, expected, first_slot)
    if problem is not None:
        raise ViolationError(when + problem)


_Generator = tuple[Callable[[int], Any], Callable[[], Any], Callable[[Any], Any]]


def _global_generators() -> dict[str, _Generator]:
    """Return how to seed, read and write each global generator; torch's if anybody imported it."""
    generators: dict[str, _Generator] = {
        "np.random": (np.random.seed, np.random.get_state, np.random.set_state),
        "random": (random.seed, random.getstate, random.setstate),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        generators["torch"] = (torch.manual_seed, torch.get_rng_state, torch.set_rng_state)
    return generators


@contextmanager
def _global_state_kept() -> Iterator[None]:
    kept = {name: state() for name, (_, state, _) in _global_generators().items()}
    try:
        yield
    finally:
        for name, state in kept.items():
            _global_generators()[name][2](state)


def _same_state(left: Any, right: Any) -> bool:
    if isinstance(left, tuple):
        return all(map(_same_state, left, right))
    return bool(np.array_equal(left, right))
