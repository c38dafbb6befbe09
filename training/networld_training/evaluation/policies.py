"""What can be evaluated: rules by name, bundles, checkpoints, learned baselines and users' own classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from networld_runtime.errors import ConfigError, NetWorldError
from networld_runtime.planner_settings import PlannerSettings
from networld_training.evaluation.own_policy import load_own_policy
from networld_training.evaluation.scores import RANDOM
from networld_training.tasks.base import Rule
from networld_training.tasks.ceiling import CEILING
from networld_training.tasks.registry import LEARNING, TASKS, planner_in
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Information

_NAMED = re.compile(r"([\w.-]+)=(.+)")
_CLASS = re.compile(r".+:[A-Za-z_]\w*")
# About how many times as long as with a rule a slot takes: for the estimate of what is left.
_MODELS = {"bundle", "checkpoint"}
_EFFORT = {"rule": 1, "ceiling": 2, "class": 1, "learned": 4, "checkpoint": 40, "bundle": 40}


@dataclass(frozen=True)
class Contender:
    """A policy of an evaluation; plain data, so that another process can make it.

    Attributes:
        task: Name of the task.
        text: As the user named it, without `NAME=`.
        kind: `rule`, `ceiling`, `bundle`, `checkpoint`, `learned` or `class`.
        name: Name in tables.
        information: What it knows.
        mode: How a bundle or checkpoint chooses its actions; None leaves it to its own settings.
    """

    task: str
    text: str
    kind: str
    name: str
    information: Information
    mode: str | None = None

    @property
    def effort(self) -> int:
        """About how many times as long as with a rule a slot takes."""
        return _EFFORT[self.kind]

    def make(self) -> Rule[Any]:
        """Return a fresh policy.

        Raises:
            NetWorldError: It cannot be made, as for `find_contenders`.
        """
        return _make(self.kind, self.text, self.task, self.mode)

    def fits(self, scenario: Scenario) -> bool:
        """Return whether the policy can act in a scenario; it may have a method that says so."""
        says = getattr(self.make(), "fits", None)
        return says is None or all(says(network) for network in scenario.networks)


def find_contenders(
    task: str, texts: Sequence[str], *, only: bool = False, mode: str | None = None
) -> list[Contender]:
    """Return the policies of an evaluation: those that come with a task, then those that are named.

    Args:
        task: Name of the task.
        texts: A rule's name, a bundle's folder, the file of a checkpoint or of a learned baseline, or
            `file.py:Class` or `package.module:Class`; each may be called otherwise by `NAME=` before it.
        only: Of those that come with the task take `random` and the expert alone, the score's references.
        mode: How bundles and checkpoints choose their actions, one of `planner_settings.MODES`; None leaves
            it to their own settings.

    Raises:
        NetWorldError: Policies do not load or have the same name, or there is a mode and nothing that it is
            for; lists all of them.
    """
    entry = TASKS[task]
    rules = [RANDOM, entry.spec.expert] if only else list(entry.policies)
    found = [_contender(task, rule, mode) for rule in rules]
    failures: list[NetWorldError] = []
    for text in texts:
        try:
            one = _contender(task, text, mode)
        except NetWorldError as error:
            failures.append(error)
            continue
        if one not in found:
            found.append(one)
    if len(failures) == 1:
        raise failures[0]
    names = [one.name for one in found]
    problems = [line for failure in failures for line in failure.render().splitlines()]
    if mode is not None and not (failures or any(one.kind in _MODELS for one in found)):
        problems.append(f"--mode {mode} is for bundles and checkpoints; name one, or leave it out")
    problems += [
        f"{name!r} is the name of several; call one otherwise, as in --policy other={one.text}"
        for name, one in dict(zip(names, found, strict=True)).items()
        if names.count(name) > 1
    ]
    if problems:
        raise ConfigError("--policy", problems)
    return found


def split_name(text: str) -> tuple[str | None, str]:
    """Return the name that `NAME=` gives a policy, if any, and what it stands before."""
    named = _NAMED.fullmatch(text)
    return (named[1], named[2]) if named else (None, text)


def _contender(task: str, text: str, mode: str | None) -> Contender:
    name, text = split_name(text)
    kind = _kind(task, text)
    policy = _make(kind, text, task, mode)
    return Contender(task, text, kind, name or policy.name, policy.information, mode)


def _kind(task: str, text: str) -> str:
    rules = TASKS[task].policies
    if text in rules:
        return "ceiling" if text == CEILING else "rule"
    if _CLASS.fullmatch(text):
        return "class"
    if text.endswith(".safetensors"):
        from networld_training.baselines.policy_file import is_policy  # noqa: PLC0415 - torch is slow

        return "learned" if is_policy(Path(text)) else "checkpoint"
    if "/" in text or Path(text).is_dir():
        return "bundle"
    raise ConfigError(
        f"--policy {text}",
        f"no rule of the task {task} ({', '.join(rules)}), no folder of a bundle, no checkpoint "
        "or learned baseline (.safetensors) and no class (file.py:ClassName)",
    )


def _make(kind: str, text: str, task: str, mode: str | None) -> Rule[Any]:
    if kind in {"rule", "ceiling"}:
        return TASKS[task].policies[text]()
    if kind == "class":
        return load_own_policy(text)
    if kind == "checkpoint":
        from networld_training.evaluation.checkpoint_policy import (  # noqa: PLC0415 - torch is slow
            load_policy,
        )

        settings = PlannerSettings() if mode is None else PlannerSettings(mode=mode)
        if task in LEARNING:
            settings = planner_in(task, settings)
        return load_policy(Path(text), task, settings)
    if kind == "learned":
        from networld_training.baselines.policy import BaselinePolicy  # noqa: PLC0415 - as above

        return BaselinePolicy.load(Path(text), task)
    from networld_training.evaluation.bundle_policy import (  # noqa: PLC0415 - as is ONNX Runtime
        BundlePolicy,
        load_task_bundle,
    )

    bundle = load_task_bundle(Path(text), task)
    changes = {} if mode is None else {"mode": mode}
    return BundlePolicy(bundle, PlannerSettings.from_json({**bundle.planner, **changes}))
