"""`[mesh]`: who a cell's neighbours are, what they count, and how it talks to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from networld_runtime.config_table import NAME_EXPECTED, Table
from networld_runtime.mesh.message import BITS
from networld_runtime.mesh.positions import LARGEST_M, Position, nearest, read_positions
from networld_runtime.mesh.topics import NAME_PATTERN

LARGEST_WEIGHT = 1000.0
MOST_NEIGHBOURS = 64


@dataclass(frozen=True)
class MeshConfig:
    """`[mesh]`.

    Attributes:
        positions: File of the site's positions, by which neighbours are chosen; None if they are not.
        discover: Whether neighbours are found by the births of the site's cells.
        most_neighbours: So many of the nearest are chosen at most, by either.
        range_m: How far away a neighbour may be; None: as far as it likes.
        silent_s: A discovered neighbour that is not heard for so long gives its place away, and one that
            comes must stay so long before it takes the place of another.
        weights: What a neighbour counts in the mean field, 1 if it is not there.
        age_weight: By this a message counts less with each slot that it is older than one.
        message_bits: Bits of a value in the messages that this cell sends.
    """

    positions: Path | None = None
    discover: bool = False
    most_neighbours: int = 6
    range_m: float | None = None
    silent_s: float = 5.0
    weights: Mapping[str, float] = field(default_factory=dict)
    age_weight: float = 1.0
    message_bits: int = 8


def read_mesh(table: Table) -> MeshConfig:
    """Read `[mesh]`; what it says about other tables is checked by `find_neighbours`."""
    default = MeshConfig()
    most = table.integer("most_neighbours", default.most_neighbours, 1, MOST_NEIGHBOURS)
    return MeshConfig(
        positions=table.optional_path("positions"),
        discover=bool(table.flag("discover", default.discover)),
        most_neighbours=most or 1,
        range_m=table.number("range_m", None, 0.001, LARGEST_M),
        silent_s=table.number("silent_s", default.silent_s, 0.1, 3600) or 1.0,
        weights=_weights(table),
        age_weight=table.number("age_weight", default.age_weight, 0.01, 1) or 1.0,
        message_bits=table.whole("message_bits", BITS, default.message_bits),
    )


def find_neighbours(
    cell: Table,
    mesh: Table,
    config: MeshConfig,
    name: str,
    listed: tuple[str, ...] | None,
    position_m: Position | None,
) -> tuple[tuple[str, ...], Position | None]:
    """Return a cell's neighbours, none yet if they are discovered, and its position.

    Exactly one of `cell.neighbours`, `mesh.positions` and `mesh.discover` says who they are.

    Args:
        cell: `[cell]`, for problems.
        mesh: `[mesh]`, for problems.
        config: What `[mesh]` says.
        name: The cell's own name.
        listed: `cell.neighbours`, None if it is not given.
        position_m: `cell.position_m`, None if it is not given.
    """
    ways = {
        "cell.neighbours": listed is not None,
        "mesh.positions": config.positions is not None,
        "mesh.discover": config.discover,
    }
    given = [key for key, is_given in ways.items() if is_given]
    if not given:
        cell.problem(
            "neighbours",
            "missing, expected a list of names, or else mesh.positions, a file of the site's positions, or "
            "mesh.discover = true",
        )
    elif len(given) > 1:
        table, _, key = given[-1].partition(".")
        others = " and ".join(given[:-1])
        (cell if table == "cell" else mesh).problem(
            key, f"contradicts {others}: give one of them, it says who the neighbours are"
        )
        return listed or (), position_m
    if listed is not None:
        for key in ("most_neighbours", "range_m", "silent_s"):
            if mesh.given(key):
                mesh.problem(key, "contradicts cell.neighbours, which lists them; leave one out")
    if config.discover and position_m is None:
        cell.problem("position_m", "missing, expected [x, y] in metres: mesh.discover needs it")
    if config.positions is not None:
        if position_m is not None:
            cell.problem("position_m", "contradicts mesh.positions, which has it; leave it out")
        if mesh.given("silent_s"):
            mesh.problem("silent_s", "is for mesh.discover, contradicts mesh.positions")
        listed, position_m = _by_position(mesh, config, name, config.positions)
    if not config.discover and listed is not None:
        for unknown in sorted(config.weights.keys() - set(listed)):
            mesh.problem("weights", f"{unknown} is no neighbour; neighbours: {', '.join(listed)}")
    return listed or (), position_m


def _by_position(
    mesh: Table, config: MeshConfig, name: str, file: Path
) -> tuple[tuple[str, ...] | None, Position | None]:
    positions, problems = read_positions(file)
    if not problems and name not in positions:
        problems = [f"{file}: has no line for {name}, the cell itself (cell.name)"]
    for problem in problems:
        mesh.problem("positions", problem)
    if problems:
        return None, None
    return nearest(positions, name, config.most_neighbours, config.range_m), positions[name]


def _weights(table: Table) -> dict[str, float]:
    expected = f"a table of numbers from 0 to {LARGEST_WEIGHT:g} by neighbour"
    weights = {}
    for name, weight in table.mapping("weights").items():
        if not NAME_PATTERN.fullmatch(name):
            table.problem("weights", f"{name!r:.60}: expected {NAME_EXPECTED}")
        elif type(weight) not in (int, float) or not 0 <= weight <= LARGEST_WEIGHT:
            table.problem("weights", f"{name} = {weight!r:.60}: expected {expected}")
        else:
            weights[name] = float(weight)
    return weights
