"""All learned baselines by name: what they know, their hyper-parameters and their networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from networld_runtime.errors import ConfigError
from networld_training.baselines import cloning, diffuser, implicit_q, online_settings
from networld_training.baselines.learner import Learner
from networld_training.baselines.trajectories import LoggedData
from networld_training.environments.agent_view import AgentView
from networld_training.tasks.spec import Information, TaskSpec


@dataclass(frozen=True)
class Method:
    """A way to learn a policy.

    Attributes:
        information: What its policies know: `local` leaves the mean field out.
        settings: Type of its hyper-parameters.
        settings_of: Hyper-parameters of a task.
        make_actor: The network that acts, from what a cell sees, hyper-parameters and number of cells.
        learner: Learns from a data set; None if the method plays in the simulator.
    """

    information: Information
    settings: type[Any]
    settings_of: Callable[[str], Any]
    make_actor: Callable[[AgentView, Any, int], nn.Module]
    learner: Callable[[LoggedData, Any], Learner] | None = None

    @property
    def online(self) -> bool:
        """Whether it plays in the simulator; its actions are then rows of `AgentView.table`."""
        return self.learner is None

    def view(self, spec: TaskSpec) -> AgentView:
        """Return what its policies see of a task."""
        told = self.information != "local"
        return AgentView(spec, mean_field=told, discrete_actions=self.online)


def _online(algorithm: str) -> Method:
    return Method(
        "mean-field",
        online_settings.OnlineSettings,
        lambda task: online_settings.settings_of(algorithm, task),
        online_settings.make_actor,
    )


METHODS: Mapping[str, Method] = {
    "bc": Method(
        "mean-field",
        cloning.CloningSettings,
        cloning.settings_of,
        cloning.make_actor,
        cloning.Cloning,
    ),
    "iql": Method(
        "mean-field",
        implicit_q.ImplicitQSettings,
        implicit_q.settings_of,
        cloning.make_actor,
        implicit_q.ImplicitQ,
    ),
    "dd": Method(
        "local",
        diffuser.DiffuserSettings,
        diffuser.settings_of,
        diffuser.make_actor,
        diffuser.Diffuser,
    ),
    "ippo": _online("ippo"),
    "mappo": _online("mappo"),
    "qmix": _online("qmix"),
}


def find_method(name: str) -> Method:
    """Return a method by name.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in METHODS:
        raise ConfigError("method", f"{name!r} is not a method; known: {', '.join(METHODS)}")
    return METHODS[name]
