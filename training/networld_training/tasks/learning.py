"""What a world model must be told of a task to learn to act in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from networld_runtime.contract import Action, ActionBins


@dataclass(frozen=True)
class Holding:
    """Orders that put a cell into a state that lasts, each the choice of the action's first component.

    Attributes:
        states: For each choice, the feature that shows the state that it leads to.
        cleared: Features that are at their lowest once an order has been held.
        turn: Feature that shows whether it is the cell's turn to give a new order.
        stuck: Pairs of a state and an order that leaves the cell in that state.
        slots: Slots for which an order is judged, as if it and all others were held.
        discount: Weight of each following slot.
    """

    states: tuple[str, ...]
    cleared: tuple[str, ...]
    turn: str
    stuck: tuple[tuple[int, int], ...]
    slots: int
    discount: float


@dataclass(frozen=True)
class Learning:
    """How a world model learns to act in a task.

    Attributes:
        activity: How strongly a cell acts on others, 0 to 1, for each entry of a coded action; a data set's
            couplings count for neighbours that are active.
        floors: For each coupling, how much of it does not matter.
        behaviour: Features that show what was done before; the policy is blind to them.
        start: Rule of the task that the policy imitates at first; "" if it starts from nothing.
        holding: States that last; None if every slot stands for itself.
    """

    activity: tuple[float, ...]
    floors: tuple[float, ...]
    behaviour: tuple[str, ...] = ()
    start: str = ""
    holding: Holding | None = None


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
