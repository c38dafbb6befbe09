"""Every check passes a sound task and fails on one that is broken in just the way it is there for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from networld_runtime.contract import Feature
from networld_runtime.errors import ConfigError
from networld_training.conformance import Report, check_task
from networld_training.conformance.suite import TASK_CHECKS
from networld_training.conformance.task_subject import TaskSubject
from networld_training.conformance.verdict import ViolationError
from networld_training.radio.streams import spawn_streams
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network

Toy = type[Any]
LEAK: list[int] = []


def with_method(toy: Toy, **methods: Any) -> Toy:
    """Return a subclass with some methods replaced."""
    return type("Broken", (toy,), methods)


def ignores_its_seeds(toy: Toy) -> Toy:
    def begin(self: Any) -> None:
        self.streams = [spawn_streams(0) for _ in self.seeds]
        toy._begin(self)

    return with_method(toy, _begin=begin)


def counts_instances(toy: Toy) -> Toy:
    def begin(self: Any) -> None:
        toy._begin(self)
        LEAK.append(1)

    def advance(self: Any, action: Any) -> Any:
        utility, details = toy._advance(self, action)
        return utility + (len(LEAK) if self.slot == self.network.slots - 1 else 0), details

    return with_method(toy, _begin=begin, _advance=advance)


def keeps_its_queue(toy: Toy) -> Toy:
    def begin(self: Any) -> None:
        queue = getattr(self, "_queue", None)
        toy._begin(self)
        self._queue = self._queue if queue is None else queue

    return with_method(toy, _begin=begin)


def draws(toy: Toy, draw: Callable[[], float]) -> Toy:
    def advance(self: Any, action: Any) -> Any:
        utility, details = toy._advance(self, action)
        return utility + draw(), details

    return with_method(toy, _advance=advance)


def draws_from_numpy(toy: Toy) -> Toy:
    return draws(toy, np.random.random)


def touches_python(toy: Toy) -> Toy:
    return draws(toy, lambda: 0.0 * random.random())


def shares_its_queue(toy: Toy) -> Toy:
    shared: dict[str, Any] = {}

    def begin(self: Any) -> None:
        toy._begin(self)
        shared["queue"] = self._queue

    def advance(self: Any, action: Any) -> Any:
        self._queue = shared["queue"]
        return toy._advance(self, action)

    return with_method(toy, _begin=begin, _advance=advance)


def keeps_a_lambda(toy: Toy) -> Toy:
    def begin(self: Any) -> None:
        toy._begin(self)
        self.rate = lambda power: power

    return with_method(toy, _begin=begin)


def looks_at_the_batch(toy: Toy) -> Toy:
    def begin(self: Any) -> None:
        toy._begin(self)
        self._gain_db = self._gain_db - self._gain_db.mean()

    return with_method(toy, _begin=begin)


def observes_doubles(toy: Toy) -> Toy:
    return with_method(toy, _observe=lambda self: toy._observe(self).astype(np.float64))


def observes_nan(toy: Toy) -> Toy:
    def observe(self: Any) -> Any:
        seen = toy._observe(self)
        if self.slot == self.network.slots:  # the last observation alone
            seen[0, 0, 0] = np.nan
        return seen

    return with_method(toy, _observe=observe)


def says_narrow_ranges(toy: Toy) -> Toy:
    narrow = (Feature("queue", "bits", -2.0, -1.0), toy.spec.features[1])
    return with_method(toy, spec=replace(toy.spec, features=narrow))


def says_empty_range(toy: Toy) -> Toy:
    empty = (Feature("queue", "bits", 1.0, 1.0), toy.spec.features[1])
    return with_method(toy, spec=replace(toy.spec, features=empty))


def says_another_slot(toy: Toy) -> Toy:
    return with_method(toy, spec=replace(toy.spec, slot_s=0.5))


def declares_no_mask(toy: Toy) -> Toy:
    plain = replace(toy.spec.actions[0], masked=False)
    return with_method(toy, spec=replace(toy.spec, actions=(plain, toy.spec.actions[1])))


def masks_everything(toy: Toy) -> Toy:
    def observe(self: Any) -> Any:
        seen = toy._observe(self)
        self.action_mask[0, 3] = False
        return seen

    return with_method(toy, _observe=observe)


def forgets_its_mask(toy: Toy) -> Toy:
    def checked(self: Any, action: Any) -> Any:
        mask, self.action_mask = self.action_mask, None
        values = Task._checked(self, action)
        self.action_mask = mask
        return values

    return with_method(toy, _checked=checked)


def refuses_what_the_mask_allows(toy: Toy) -> Toy:
    def checked(self: Any, action: Any) -> Any:
        mask = self.action_mask
        self.action_mask = mask & (np.arange(3) != 2)
        try:
            return Task._checked(self, action)
        finally:
            self.action_mask = mask

    return with_method(toy, _checked=checked)


def refuses_off(toy: Toy) -> Toy:
    narrow = replace(toy.spec.actions[1], off=None)

    def checked(self: Any, action: Any) -> Any:
        whole, self.spec = self.spec, replace(self.spec, actions=(self.spec.actions[0], narrow))
        try:
            return Task._checked(self, np.where(np.asarray(action) == -30, -30, np.abs(action) * 0))
        finally:
            self.spec = whole

    return with_method(toy, _checked=checked)


def clips_actions(toy: Toy) -> Toy:
    def step(self: Any, action: Any) -> Any:
        values = np.nan_to_num(np.asarray(action, dtype=float))
        return Task.step(self, np.clip(values, [0, -30], [2, 0]))

    return with_method(toy, step=step)


def draws_when_it_tells(toy: Toy) -> Toy:
    def tell(self: Any) -> Any:
        noise = np.stack([stream.policy.random(7) for stream in self.streams])
        return toy._tell(self) + noise[..., None]

    return with_method(toy, _tell=tell)


def tells_at_once(toy: Toy) -> Toy:
    def step(self: Any, action: Any) -> Any:
        outcome = Task.step(self, action)
        self.received = toy._tell(self)
        return outcome

    return with_method(toy, step=step)


def tells_out_of_range(toy: Toy) -> Toy:
    return with_method(toy, _tell=lambda self: toy._tell(self) + 1e4)


def is_selfish(toy: Toy) -> Toy:
    def step(self: Any, action: Any) -> Any:
        outcome = Task.step(self, action)
        return replace(outcome, reward=outcome.utility)

    return with_method(toy, step=step)


def is_worth_nothing(toy: Toy) -> Toy:
    return draws(toy, lambda: np.nan)


def measures_less(toy: Toy) -> Toy:
    return with_method(toy, metrics=lambda self: {"sent": toy.metrics(self)["sent"]})


def earns_nothing(toy: Toy) -> Toy:
    def advance(self: Any, action: Any) -> Any:
        utility, details = toy._advance(self, action)
        return utility, details | {"credit": np.full_like(utility, np.nan)}

    return with_method(toy, _advance=advance)


def couples(toy: Toy, change: Callable[[Any, Any], Any]) -> Toy:
    return with_method(toy, coupling=property(lambda self: change(self, toy.coupling.fget(self))))


def couples_negatively(toy: Toy) -> Toy:
    return couples(toy, lambda _, coupling: np.full_like(coupling, -1))


def couples_more_than_it_names(toy: Toy) -> Toy:
    return couples(toy, lambda _, coupling: np.repeat(coupling, 2, axis=-1))


def couples_at_random(toy: Toy) -> Toy:
    def draw(self: Any, coupling: Any) -> Any:
        return coupling + self.streams[0].policy.random(dtype=np.float32)

    return couples(toy, draw)


def changes_when_coupling_is_read(toy: Toy) -> Toy:
    def improve(self: Any, coupling: Any) -> Any:
        self._gain_db = np.full_like(self._gain_db, 10.0)
        return coupling

    return couples(toy, improve)


def measures_nan(toy: Toy) -> Toy:
    def metrics(self: Any) -> Any:
        return {name: values * np.nan for name, values in toy.metrics(self).items()}

    return with_method(toy, metrics=metrics)


def loses_bits(toy: Toy) -> Toy:
    def advance(self: Any, action: Any) -> Any:
        utility, details = toy._advance(self, action)
        self._queue = np.minimum(self._queue, 30.0)
        return utility, details

    return with_method(toy, _advance=advance)


def ends_early(toy: Toy) -> Toy:
    def step(self: Any, action: Any) -> Any:
        outcome = Task.step(self, action)
        return replace(outcome, done=self.slot >= self.network.slots - 1)

    return with_method(toy, step=step)


def begins_by_itself(toy: Toy) -> Toy:
    def step(self: Any, action: Any) -> Any:
        if not hasattr(self, "observation"):
            self.reset()
        return Task.step(self, action)

    return with_method(toy, step=step)


def goes_on_for_ever(toy: Toy) -> Toy:
    def step(self: Any, action: Any) -> Any:
        if self.slot >= self.network.slots:
            self.reset()
        return Task.step(self, action)

    return with_method(toy, step=step)


BROKEN: list[tuple[str, Callable[[Toy], Toy], str]] = [
    ("interface-is-sane", says_empty_range, "feature queue = 1 to 1"),
    ("interface-is-sane", says_another_slot, "slot_s = 0.5, but 0.02"),
    ("same-seed-same-episode", counts_instances, "reward differs first after 6 slots"),
    ("other-seed-other-episode", ignores_its_seeds, "the same in every slot"),
    ("reset-repeats", keeps_its_queue, "after a reset in mid-episode"),
    ("no-global-randomness", draws_from_numpy, "with other global seeds"),
    ("no-global-randomness", touches_python, "the state of random is another"),
    ("instances-do-not-meet", shares_its_queue, "beside another instance"),
    ("copies-go-on", keeps_a_lambda, "pickled copy: cannot be made"),
    ("batch-is-singles", looks_at_the_batch, "differs between a batch and alone"),
    ("observations-fit", observes_doubles, "float64, expected float32"),
    ("observations-fit", observes_nan, "slot 6: nan at [0, 0, 0]"),
    ("feature-ranges-fit", says_narrow_ranges, "queue: 100% of the values outside -2 to -1"),
    ("masks-hold", declares_no_mask, "no Choice of the spec has masked=True"),
    ("masks-hold", masks_everything, "no choice is valid for cell 3, episode 0"),
    ("masks-hold", forgets_its_mask, "was taken, expected ActionError"),
    ("masks-hold", refuses_what_the_mask_allows, "choice 2, which the mask allows"),
    ("good-actions-are-taken", refuses_off, "power_db = -30 was refused"),
    ("bad-actions-are-refused", clips_actions, "mode = nan was taken"),
    ("messages-arrive", draws_when_it_tells, "when asked twice"),
    ("messages-arrive", tells_at_once, "something else than was told"),
    ("messages-arrive", tells_out_of_range, "queue: 100% of the values outside 0 to 80"),
    ("rewards-are-shared", is_selfish, "the mean utility of it and its neighbours"),
    ("rewards-are-shared", is_worth_nothing, "slot 1, utility: nan at [0, 0], expected finite"),
    ("metrics-are-complete", measures_less, "differ in mean_queue"),
    ("rewards-are-shared", earns_nothing, "slot 1, credit: nan at [0, 0], expected finite"),
    (
        "couplings-fit",
        couples_negatively,
        "slot 0, coupling: -1 at [0, 0, 0, 0], expected numbers from 0",
    ),
    ("couplings-fit", couples_more_than_it_names, "(2, 7, 6, 2), expected an array (2, 7, 6, 1)"),
    ("couplings-fit", couples_at_random, "slot 0, coupling: something else when read twice"),
    ("couplings-fit", changes_when_coupling_is_read, "once it is read, the slot has another"),
    (
        "metrics-are-complete",
        measures_nan,
        "slot 1, mean_queue: nan at [0], expected finite numbers",
    ),
    ("balance-is-zero", loses_bits, "bits unaccounted for"),
    ("length-is-kept", ends_early, "done is True after 5 of 6 slots"),
    ("order-is-demanded", begins_by_itself, "a step before reset was taken"),
    ("order-is-demanded", goes_on_for_ever, "a step after the end moved slot 6 to 0"),
]


@pytest.mark.parametrize(("name", "broken", "said"), BROKEN, ids=[b[1].__name__ for b in BROKEN])
def test_a_broken_task_fails(
    name: str, broken: Callable[[Toy], Toy], said: str, toy_task: Toy, toy_network: Network
) -> None:
    (check,) = [check for check in TASK_CHECKS if check.name == name]
    LEAK.clear()
    np.random.seed(5)  # other tests may have left a state that the check sets, too
    with pytest.raises(ViolationError) as found:
        check.run(TaskSubject(broken(toy_task), toy_network))
    assert said in str(found.value)


def test_every_check_has_a_broken_task_a_demand_and_a_hint() -> None:
    names = [check.name for check in TASK_CHECKS]
    assert len(set(names)) == len(names)
    assert {name for name, _, _ in BROKEN} == set(names)
    assert all(check.demand.endswith(".") and check.hint for check in TASK_CHECKS)


def test_a_sound_task_passes_everything(toy_task: type[Task], toy_network: Network) -> None:
    report = check_task(toy_task, toy_network, seed=4)
    report.require()
    assert {finding.result for finding in report.findings} == {"ok"}


def test_what_a_task_has_not_is_not_applicable(toy_task: Toy, toy_network: Network) -> None:
    without = replace(toy_task.spec, actions=toy_task.spec.actions[1:])

    def observe(self: Any) -> Any:
        seen = toy_task._observe(self)
        self.action_mask = None
        return seen

    def advance(self: Any, action: Any) -> Any:
        serve = np.ones((*self.shape, 1))
        return toy_task._advance(self, np.concatenate([serve, action], axis=-1))

    plain = with_method(
        toy_task,
        spec=without,
        couplings=(),
        _observe=observe,
        _advance=advance,
        balance=lambda _: {},
    )
    results = {f.check: f.result for f in check_task(plain, toy_network).findings}
    del results["copies-go-on"]  # a class made in a function cannot be pickled
    not_applicable = {name for name, result in results.items() if result == "not applicable"}
    assert not_applicable == {"masks-hold", "couplings-fit", "balance-is-zero"}
    assert set(results.values()) == {"ok", "not applicable"}


def test_an_error_in_the_task_is_a_finding_with_its_place(
    toy_task: Toy, toy_network: Network
) -> None:
    def metrics(_: Any) -> Any:
        raise KeyError("lost")

    report = check_task(with_method(toy_task, metrics=metrics), toy_network)
    (finding,) = [f for f in report.failures if f.check == "metrics-are-complete"]
    assert "KeyError: 'lost'" in finding.said
    assert "test_task_checks.py, line" in finding.said


def test_a_task_that_is_unfinished_is_refused_with_all_that_it_lacks(toy_network: Network) -> None:
    class Unfinished(Task):
        def _begin(self) -> None:
            pass

        def metrics(self) -> dict[str, Any]:
            return {}

    with pytest.raises(ConfigError, match="Unfinished: 4 problems") as raised:
        check_task(Unfinished, toy_network)
    assert "has no method _advance" in str(raised.value)
    assert "has no spec" in str(raised.value)


def test_require_says_what_failed_and_what_to_do(toy_task: Toy, toy_network: Network) -> None:
    report: Report = check_task(loses_bits(toy_task), toy_network)
    with pytest.raises(AssertionError, match="bits unaccounted for") as raised:
        report.require()
    text = str(raised.value)
    assert "demanded: Every quantity of `balance`" in text
    assert "hint: follow what arrives" in text


def test_global_generators_are_as_before(toy_task: type[Task], toy_network: Network) -> None:
    random.seed(5)
    np.random.seed(5)
    expected = (random.Random(5).random(), np.random.RandomState(5).random())
    check_task(toy_task, toy_network)
    assert (random.random(), np.random.random()) == expected
