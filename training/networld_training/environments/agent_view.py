"""What learning agents see of a task and how their actions become native ones, for all adapters."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import (
    NORMALISED_LIMIT,
    ActionBins,
    Feature,
    FloatArray,
    normalised,
)
from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import BoolArray, IntArray
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.registry import find_scenario, find_task
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Action, Choice, TaskSpec, native_bounds

MOST_VALUES = 16
"""Values that a discrete agent chooses from where an action is one number, beside "off"."""

MOST_VALUES_OF_SEVERAL = 5
"""The same where an action has several components."""


class AgentView:
    """The interface of a task as learning agents have it.

    Args:
        spec: The task.
        mean_field: Whether agents see the mean field behind their own observation.
        normalised: Whether each feature's range is scaled to [-1, 1] and clipped at 1.5; native units
            otherwise.
        discrete_actions: Whether an action is one number that picks a row of `table`.

    Attributes:
        features: What an agent sees, entry by entry.
        table: Native values of each discrete action `[N, C]`: all combinations of the components' values,
            the last component varying fastest. "Off" is the first value of a component that has it. Where
            a number stands beside other components it has 5 values at most, so that combinations stay few.
    """

    def __init__(
        self,
        spec: TaskSpec,
        *,
        mean_field: bool = True,
        normalised: bool = True,
        discrete_actions: bool = False,
    ) -> None:
        self.spec = spec
        self.mean_field = mean_field
        self.normalised = normalised
        self.discrete_actions = discrete_actions
        self.features: tuple[Feature, ...] = spec.features + (spec.message if mean_field else ())
        most = MOST_VALUES if len(spec.actions) == 1 else MOST_VALUES_OF_SEVERAL
        self.table: DoubleArray = np.array(
            list(itertools.product(*(native_values(action, most) for action in spec.actions)))
        )
        bounds = np.array([native_bounds(action) for action in spec.actions])
        self._bounds = (bounds[:, 0], bounds[:, 1])
        masked = [i for i, a in enumerate(spec.actions) if isinstance(a, Choice) and a.masked]
        self.masked_component = masked[0] if masked else None

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that `observation` can have."""
        return (-NORMALISED_LIMIT, NORMALISED_LIMIT) if self.normalised else (-np.inf, np.inf)

    @property
    def mask_size(self) -> int:
        """Entries of an agent's action mask; 0 if no action is masked."""
        if self.masked_component is None:
            return 0
        return len(self.table) if self.discrete_actions else self.spec.mask_size

    def observation(self, task: Task) -> FloatArray:
        """Return what the agents see in the present slot `[E, K, D]`."""
        return self.seen(task.observation, task.mean_field)

    def seen(self, observation: FloatArray, mean_field: FloatArray) -> FloatArray:
        """Return what agents see `[..., D]` of observations and mean fields as tasks and data sets have them.

        Args:
            observation: Native units `[..., features]`.
            mean_field: Native units `[..., message entries]`; the lowest value where nobody told an entry.
        """
        values = observation
        if self.mean_field:
            values = np.concatenate([observation, mean_field], axis=-1)
        if not self.normalised:
            return values.astype(np.float32)
        return normalised(self.features, values)

    def action_mask(self, task: Task) -> BoolArray:
        """Return which choices are valid in the present slot `[E, K, mask_size]`.

        With discrete actions these are the rows of `table`, otherwise the values of the masked component.
        """
        if task.action_mask is None or self.masked_component is None:
            return np.ones((*task.shape, self.mask_size), dtype=np.bool_)
        if not self.discrete_actions:
            return task.action_mask
        chosen: IntArray = self.table[:, self.masked_component].astype(np.int64)
        return task.action_mask[..., chosen]

    def native(self, action: npt.ArrayLike) -> DoubleArray:
        """Return native actions `[..., C]` of discrete ones `[...]`, or of native ones in float32.

        Bounds of a task need not be float32 numbers: what lies beyond one by rounding is put on it.
        """
        if self.discrete_actions:
            return np.asarray(self.table[np.asarray(action, dtype=np.int64)])
        values = np.asarray(action, dtype=np.float64)
        inside = np.clip(values, *self._bounds)
        rounding = 1e-6 * np.maximum(np.abs(inside), 1e-3)
        return np.where(np.abs(values - inside) <= rounding, inside, values)


def native_values(action: Action, most: int) -> list[float]:
    """Return the values of an action that discrete agents choose from: "off" if any, then `most` at most."""
    if isinstance(action, ActionBins):
        count = min(action.count, most)
        ordered = [float(value) for value in np.linspace(action.low, action.high, count)]
        return ordered if action.off is None else [action.off, *ordered]
    return [float(index) for index in range(action.size)]


def networks_to_play(
    scenario: str | Scenario | Network, task: str | type[Task] | None = None
) -> tuple[type[Task], tuple[Network, ...]]:
    """Return the task and the networks that an environment is asked to play.

    Args:
        scenario: Id of a registered scenario, a scenario, or a network.
        task: The task or its name; needed for a network, and for a scenario of a task that is not
            registered.

    Raises:
        ConfigError: The scenario or task is not known, a network comes without a task, or the networks
            of the scenario differ in their number of cells.
    """
    if isinstance(scenario, str):
        scenario = find_scenario(scenario)
    if task is None:
        if isinstance(scenario, Network):
            raise ConfigError("task", f"none given for network {scenario.name!r}; name its task")
        task = scenario.task
    make = find_task(task).make if isinstance(task, str) else task
    networks = (scenario,) if isinstance(scenario, Network) else scenario.networks
    cells = sorted({network.cells for network in networks})
    if len(cells) > 1:
        raise ConfigError(
            "scenario", f"networks with {cells} cells: an environment has one number of agents"
        )
    return make, networks
