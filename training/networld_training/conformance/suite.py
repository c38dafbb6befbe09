"""The conformance suite: all checks with their hints, and what they found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from networld_runtime.errors import ConfigError
from networld_training.conformance import books, environment, interface, randomness
from networld_training.conformance.environment import EnvironmentSubject
from networld_training.conformance.task_subject import MakeTask, TaskSubject
from networld_training.conformance.verdict import NotApplicableError, ViolationError
from networld_training.own_code import described
from networld_training.tasks.network import Network

Progress = Callable[[int], None]
Result = Literal["ok", "failed", "not applicable"]


@dataclass(frozen=True)
class Check:
    """A demand on tasks or environments.

    Attributes:
        run: Raises `ViolationError` or `NotApplicableError`; its docstring says what it demands.
        hint: What to do when it fails.
    """

    run: Callable[[Any], None]
    hint: str

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.run.__name__.replace("_", "-")

    @property
    def demand(self) -> str:
        """What is demanded, in a sentence."""
        return (inspect.getdoc(self.run) or "").split("\n\n")[0]


_RANDOMNESS = (
    Check(
        randomness.same_seed_same_episode,
        "draw from the episode's own generators only; keep no state between instances",
    ),
    Check(
        randomness.other_seed_other_episode,
        "draw from generators that were made from the seed (a task: self.streams)",
    ),
    Check(randomness.reset_repeats, "set every attribute anew when an episode begins"),
    Check(
        randomness.no_global_randomness,
        "replace np.random.*, random.* and torch.* by the episode's own generators",
    ),
    Check(
        randomness.instances_do_not_meet,
        "keep state on the instance: no module globals, no mutable class attributes",
    ),
    Check(
        randomness.copies_go_on,
        "keep no lambdas, open files or generators of the class; define classes at module level",
    ),
)

TASK_CHECKS: tuple[Check, ...] = (
    Check(interface.interface_is_sane, "mend the TaskSpec, or the network's slot_s"),
    *_RANDOMNESS,
    Check(
        randomness.batch_is_singles,
        "draw each episode's numbers from its own streams; never mix the episodes' axis",
    ),
    Check(interface.observations_fit, "_observe returns float32 [E, K, D], one entry per feature"),
    Check(interface.feature_ranges_fit, "set low and high to about the 1 and 99 percentiles"),
    Check(
        interface.masks_hold,
        "declare Choice(..., masked=True) and set self.action_mask in _observe, bool [E, K, A]",
    ),
    Check(interface.good_actions_are_taken, "let Task.step check the actions; do not override it"),
    Check(interface.bad_actions_are_refused, "let Task.step check the actions; do not override it"),
    Check(books.messages_arrive, "_tell reads the present slot, and draws and changes nothing"),
    Check(books.rewards_are_shared, "_advance returns utilities; Task.step makes the rewards"),
    Check(books.couplings_fit, "coupling measures the present slot, and draws and changes nothing"),
    Check(books.metrics_are_complete, "metrics returns {kpi.name: array [E]} for all of spec.kpis"),
    Check(books.balance_is_zero, "follow what arrives, leaves and stays; clip nothing silently"),
    Check(interface.length_is_kept, "let Task.step count the slots; do not override it"),
    Check(interface.order_is_demanded, "let Task.step demand the order; do not override it"),
)

ENVIRONMENT_CHECKS: tuple[Check, ...] = (
    Check(environment.parallel_api, "see pettingzoo.farama.org/api/parallel"),
    *_RANDOMNESS,
    Check(environment.spaces_hold, "make spaces from what is observed, once, and return those"),
    Check(environment.state_after_the_end, "state() must not depend on the agents that are left"),
)


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    check: str
    result: Result
    said: str
    demand: str
    hint: str


@dataclass(frozen=True)
class Report:
    """What all checks found."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> list[Finding]:
        """Findings of the checks that failed."""
        return [finding for finding in self.findings if finding.result == "failed"]

    def require(self) -> None:
        """Raise AssertionError with what failed and what to do about it, if anything did."""
        if self.failures:
            raise AssertionError(str(self))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        passed = not self.failures
        return {"target": self.target, "passed": passed, "checks": [*map(asdict, self.findings)]}

    def __str__(self) -> str:
        failures = "\n".join(
            f"{one.check}: {one.said}\n  demanded: {one.demand}\n  hint: {one.hint}"
            for one in self.failures
        )
        return (
            f"{self.target}: {len(self.failures)} of {len(self.findings)} checks failed\n{failures}"
        )


def check_task(
    make: MakeTask, network: Network, seed: int = 0, report: Progress = lambda _: None
) -> Report:
    """Check a task, as `networld check` does.

    Args:
        make: The task, or whatever makes a batch of episodes from a network and seeds.
        network: Where the episodes take place; a short one is checked faster.
        seed: Seed of the first episode.
        report: Called with the number of checks done.

    Raises:
        ConfigError: The task is unfinished; lists what it lacks.
    """
    name = getattr(make, "__name__", "task")
    lacks = [
        f"has no method {method}" for method in sorted(getattr(make, "__abstractmethods__", ()))
    ]
    if inspect.isclass(make) and not hasattr(make, "spec"):
        lacks.append("has no spec: expected a TaskSpec")
    if lacks:
        raise ConfigError(name, lacks)
    return _report(name, TASK_CHECKS, TaskSubject(make, network, seed), report)


def check_parallel_env(
    make: Callable[[], Any], seed: int = 0, report: Progress = lambda _: None
) -> Report:
    """Check a PettingZoo `ParallelEnv`, as `networld check --pettingzoo` does.

    Args:
        make: The environment's class, or whatever makes one without arguments.
        seed: Seed of the episodes.
        report: Called with the number of checks done.
    """
    name = getattr(make, "__name__", "environment")
    return _report(name, ENVIRONMENT_CHECKS, EnvironmentSubject(make, seed), report)


def _report(target: str, checks: Sequence[Check], subject: Any, report: Progress) -> Report:
    findings = []
    for check in checks:
        findings.append(_finding(check, subject))
        report(len(findings))
    return Report(target, tuple(findings))


def _finding(check: Check, subject: Any) -> Finding:
    result: Result = "ok"
    said = ""
    try:
        check.run(subject)
    except ViolationError as violation:
        result, said = "failed", str(violation)
    except NotApplicableError as reason:
        result, said = "not applicable", str(reason)
    except Exception as error:
        # Code under check may raise anything.
        result, said = "failed", described(error)
    return Finding(check.name, result, said, check.demand, check.hint)
