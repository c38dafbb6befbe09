"""Where the cells of a site stand, and who is nearest to whom."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from networld_runtime.config_table import NAME_EXPECTED
from networld_runtime.mesh.topics import NAME_PATTERN
from networld_runtime.plain_values import is_number

LARGEST_M = 1e7
LARGEST_FILE_BYTES = 1 << 20
COLUMNS = ["name", "x_m", "y_m"]
NUMBER_EXPECTED = f"a number of metres, at most {LARGEST_M:g} in size"

Position = tuple[float, float]
"""East and north of the site's origin, in metres."""


def nearest(
    positions: Mapping[str, Position], name: str, most: int, range_m: float | None = None
) -> tuple[str, ...]:
    """Return the names of the nearest others, nearest first; of those equally far the first by name.

    Args:
        positions: By name, the own one among them.
        name: Whose neighbours are asked for.
        most: How many are returned at most.
        range_m: How far away they may be; None: as far as they like.
    """
    own = positions[name]
    distances = {
        other: math.dist(own, position) for other, position in positions.items() if other != name
    }
    near = [other for other, far_m in distances.items() if range_m is None or far_m <= range_m]
    return tuple(sorted(near, key=lambda other: (distances[other], other))[:most])


def is_coordinate(value: Any) -> bool:
    """Return whether a value is a number of metres that a position may hold."""
    return is_number(value) and abs(value) <= LARGEST_M


def read_positions(file: Path) -> tuple[dict[str, Position], list[str]]:
    """Read a CSV file with the columns `name,x_m,y_m`.

    Returns:
        The positions by name, and everything that is wrong with the file, a line each.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read(LARGEST_FILE_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        return {}, [f"{file}: cannot be read: {error.strerror}"]
    except UnicodeDecodeError:
        return {}, [f"{file}: is not UTF-8 text"]
    if len(raw) > LARGEST_FILE_BYTES:
        return {}, [f"{file}: larger than {LARGEST_FILE_BYTES} bytes"]
    rows = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
    positions: dict[str, Position] = {}
    problems: list[str] = []
    try:
        head = [cell.strip() for cell in next(rows, [])]
        if head != COLUMNS:
            return {}, [f"{file}: line 1 is {','.join(head)!r:.60}: expected {','.join(COLUMNS)}"]
        for row in rows:
            if row and not (len(row) == 1 and not row[0].strip()):
                where = f"{file}: line {rows.line_num}"
                _add(positions, [cell.strip() for cell in row], where, problems)
    except csv.Error as error:
        problems.append(f"{file}: line {rows.line_num}: {error}")
    return positions, problems


def _add(positions: dict[str, Position], row: list[str], where: str, problems: list[str]) -> None:
    """Add a row to the positions, or what is wrong with it to the problems."""
    if len(row) != len(COLUMNS):
        problems.append(f"{where}: {len(row)} columns: expected {','.join(COLUMNS)}")
        return
    name, *texts = row
    found = []
    if not NAME_PATTERN.fullmatch(name):
        found.append(f"{where}: name = {name!r:.60}: expected {NAME_EXPECTED}")
    elif name in positions:
        found.append(f"{where}: {name} is there twice: expected one line for each cell")
    numbers = [_number(text) for text in texts]
    found += [
        f"{where}: {column} = {text!r:.60}: expected {NUMBER_EXPECTED}"
        for column, text, number in zip(COLUMNS[1:], texts, numbers, strict=True)
        if number is None
    ]
    problems += found
    if not found:
        x_m, y_m = (number for number in numbers if number is not None)
        positions[name] = (x_m, y_m)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if is_coordinate(number) else None
