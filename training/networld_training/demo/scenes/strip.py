"""What each cell does in each slot of one episode, as a strip of coloured squares for each cell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import SubFigure
from matplotlib.patches import Patch

from networld_training.demo.scenes.scene import Numbers, write_heading
from networld_training.evaluation.drawing import INK


def draw_strips(
    figure: SubFigure,
    axes: Axes,
    kind: Numbers,
    colours: Mapping[str, str],
    title: str,
    first_slot: int = 0,
) -> None:
    """Draw a strip for each cell.

    Args:
        figure: Shows below what the colours mean.
        axes: Where.
        kind: Which of `colours` each cell has in each slot `[slots, K]`.
        colours: Colours by what they mean.
        title: Stands above.
        first_slot: Number of the first slot.
    """
    slots, cells = kind.shape
    axes.imshow(
        np.asarray(kind).T,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(list(colours.values())),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        extent=(first_slot, first_slot + slots, cells - 0.5, -0.5),
    )
    write_heading(axes, title)
    axes.grid(visible=False)
    axes.set_xlabel("slot")
    axes.set_ylabel("cell")
    if cells <= 7:
        axes.set_yticks(range(cells))
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in colours.items()],
        fontsize=9,
        labelcolor=INK,
        ncols=len(colours),
        loc="outside lower center",
        frameon=False,
    )
