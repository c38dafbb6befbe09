"""What a world model must be told of a task to learn to act in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from networld_runtime.contract import Action, ActionBins

SERVE, REST, DEEP_REST = range(3)


@dataclass(frozen=True)
class Holding:
    """Orders that put a cell into a state that lasts: serving, light or deep rest, in this order.

    They are the choice of the action's first component. A light rest ends at once; a deep one costs less
    while it lasts and more to begin.

    Attributes:
        states: For each of the three, the feature that shows it.
        turn: Feature that shows whether it is the cell's turn to begin or end serving.
        since: Feature that counts the slots in the present state.
        patience_slots: Slots of light rest after which a cell rests deeply: by then deep rest would have
            saved what it costs to begin, so nobody regrets more than that (ski rental, Karlin et al. 1988).
    """

    states: tuple[str, str, str]
    turn: str
    since: str
    patience_slots: int


@dataclass(frozen=True)
class Learning:
    """How a world model learns to act in a task.

    Attributes:
        activity: How strongly a cell acts on others, 0 to 1, for each entry of a coded action; a data set's
            couplings count for neighbours that are active.
        floors: For each coupling, how much of it does not matter.
        behaviour: Features that show what was done before; the policy is blind to them.
        holding: States that last; None if every slot stands for itself.
        adaptation_steps: Steps of an adaptation on the device, by experiment.
        adaptation_rate: Their peak learning rate: the higher, the more the credit model is trusted.
        plan_temperature: Temperature of the noise that plans start from, by experiment: hot where logs hold
            few of the actions that are worth a plan, cool where they hold too many.
    """

    activity: tuple[float, ...]
    floors: tuple[float, ...]
    behaviour: tuple[str, ...] = ()
    holding: Holding | None = None
    adaptation_steps: int = 200
    adaptation_rate: float = 5e-4
    plan_temperature: float = 1.0


def bin_activity(bins: ActionBins) -> tuple[float, ...]:
    """Return the activity of each bin of a power in dB of full power: the linear power, 0 for off."""
    step_db = (bins.high - bins.low) / (bins.count - 1)
    ordered = tuple(10 ** ((bins.low + index * step_db) / 10) for index in range(bins.count))
    return ordered if bins.off is None else (0.0, *ordered)


def choice_activity(
    actions: Sequence[Action], component: int, active: Sequence[int]
) -> tuple[float, ...]:
    """Return the activity of a coded action: 1 for some choices of one component, 0 for everything else."""
    sizes = [action.size for action in actions]
    first = sum(sizes[:component])
    return tuple(float(index - first in active) for index in range(sum(sizes)))
