"""A user's own class as a policy: `file.py:ClassName` or `package.module:ClassName`."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from networld_runtime.errors import ConfigError
from networld_training.own_code import described, load_object
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.spec import INFORMATION, ActionError, Information, action_problems


class OwnPolicy:
    """Runs a user's object and checks what it returns.

    Args:
        text: How the user named it, for errors.
        policy: The object; see `load_own_policy`.
    """

    name: str
    information: Information

    def __init__(self, text: str, policy: Any) -> None:
        self._text = text
        self._policy = policy
        self.name = policy.name
        self.information = policy.information

    def fits(self, network: Network) -> bool:
        """Return what the object says of the network; without a word it fits them all."""
        try:
            return bool(getattr(self._policy, "fits", lambda _: True)(network))
        except Exception as error:
            raise ConfigError(self._text, f"fits failed: {described(error)}") from error

    def reset(self) -> None:
        """Forget the last batch of episodes.

        Raises:
            ConfigError: The object failed.
        """
        try:
            self._policy.reset()
        except Exception as error:
            raise ConfigError(self._text, f"reset failed: {described(error)}") from error

    def act(self, task: Task) -> FloatArray:
        """Return the object's actions `[E, K, C]`.

        Raises:
            ConfigError: The object failed.
            ActionError: It returned something else than actions.
        """
        try:
            returned = self._policy.act(task)
        except Exception as error:
            where = f"act failed in slot {task.slot}"
            raise ConfigError(self._text, f"{where}: {described(error)}") from error
        shapes = [task.action_shape] + ([task.shape] if task.action_shape[-1] == 1 else [])
        expected = f"expected numbers of shape {' or '.join(map(str, shapes))}"
        try:
            action = np.asarray(returned, dtype=np.float64)
        except (TypeError, ValueError) as error:
            kind = type(returned).__name__
            raise ActionError(self._text, f"act returned {kind}, {expected}") from error
        if action.shape not in shapes:
            raise ActionError(self._text, f"act returned shape {action.shape}, {expected}")
        action = action.reshape(task.action_shape)
        problems = action_problems(task.spec, action, task.action_mask)
        if problems:
            raise ActionError(f"{self._text} in slot {task.slot}", problems)
        return action


def load_own_policy(text: str) -> OwnPolicy:
    """Make an object of a user's class, without arguments.

    The class has the attributes `name` (a string) and `information` (one of `INFORMATION`) and the
    methods `reset()` and `act(task)`; `fits(network)`, which says whether it can act in a network, may be
    left out.

    Args:
        text: `file.py:ClassName` or `package.module:ClassName`.

    Raises:
        ConfigError: There is no such class, it cannot be made, or it is no policy; lists all that it lacks.
    """
    made = load_object(text)
    if not inspect.isclass(made):
        raise ConfigError(text, f"is {made!r:.60}: expected a class")
    try:
        policy = made()
    except Exception as error:
        raise ConfigError(text, f"cannot be made without arguments: {described(error)}") from error
    problems = _problems(policy)
    if problems:
        raise ConfigError(text, problems)
    return OwnPolicy(text, policy)


def _problems(policy: Any) -> list[str]:
    """Return what an object lacks to be a policy."""
    problems = []
    name = getattr(policy, "name", None)
    if not (isinstance(name, str) and name.strip()):
        problems.append(f"name = {name!r}: expected a string, its name in tables")
    information = getattr(policy, "information", None)
    if information not in INFORMATION:
        problems.append(f"information = {information!r}: expected one of {', '.join(INFORMATION)}")
    problems += [
        f"has no method {method}: expected {method}({arguments})"
        for method, arguments in (("reset", ""), ("act", "task"))
        if not callable(getattr(policy, method, None))
    ]
    return problems
