"""Neighbours by position: the nearest, ties by name, and every mistake of the file at once."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.mesh.positions import Position, nearest, read_positions


def _problems(tmp_path: Path, text: str | bytes) -> list[str]:
    file = tmp_path / "site.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [
        problem.removeprefix(f"{file}: ").removeprefix("line ")
        for problem in read_positions(file)[1]
    ]


def test_positions_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "site.csv"
    file.write_text("\ufeffname, x_m, y_m\r\na,0,0\r\n\r\nb, -1.5e3 ,2\r\n", encoding="utf-8")
    assert read_positions(file) == ({"a": (0, 0), "b": (-1500, 2)}, [])


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = "name,x_m,y_m\na,0,0\nA,1,1\nb,1\na,2,2\nc,far,nan\nd,1e9,0\ne,1,2\n"
    assert _problems(tmp_path, text) == [
        "3: name = 'A': expected 1 to 32 of a-z, 0-9 and -, first a letter or digit",
        "4: 2 columns: expected name,x_m,y_m",
        "5: a is there twice: expected one line for each cell",
        "6: x_m = 'far': expected a number of metres, at most 1e+07 in size",
        "6: y_m = 'nan': expected a number of metres, at most 1e+07 in size",
        "7: x_m = '1e9': expected a number of metres, at most 1e+07 in size",
    ]


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (problem,) = read_positions(tmp_path / "nowhere.csv")[1]
    assert "cannot be read: No such file" in problem
    assert _problems(tmp_path, b"\xff\xfe") == ["is not UTF-8 text"]
    assert _problems(tmp_path, "x,y\n") == ["1 is 'x,y': expected name,x_m,y_m"]
    assert _problems(tmp_path, "") == ["1 is '': expected name,x_m,y_m"]
    assert _problems(tmp_path, 'name,x_m,y_m\n"a,0,0\n') == ["2: unexpected end of data"]
    assert _problems(tmp_path, b"n" * (1 << 21)) == ["larger than 1048576 bytes"]


def test_nearest_come_first_and_ties_go_by_name() -> None:
    square = {"m": (0.0, 0.0), "d": (0, 5), "b": (5, 0), "a": (3, 3), "c": (-5, 0), "z": (9, 0)}
    assert nearest(square, "m", 6) == ("a", "b", "c", "d", "z")
    assert nearest(square, "m", 3) == ("a", "b", "c")
    assert nearest(square, "m", 6, range_m=4.5) == ("a",)
    assert nearest(square, "m", 6, range_m=1) == ()


COORDINATE = st.integers(-4, 4).map(float)
SITES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2), st.tuples(COORDINATE, COORDINATE), min_size=1
)


@given(SITES, st.integers(1, 8), st.none() | st.floats(0.5, 8))
def test_nobody_left_out_is_nearer(
    site: dict[str, Position], most: int, range_m: float | None
) -> None:
    name = min(site)
    found = nearest(site, name, most, range_m)

    def rank(other: str) -> tuple[float, str]:
        return math.dist(site[name], site[other]), other

    assert name not in found
    assert list(found) == sorted(found, key=rank)
    left_out = [other for other in site if other not in (name, *found)]
    if range_m is not None:
        assert all(rank(other)[0] <= range_m for other in found)
        left_out = [other for other in left_out if rank(other)[0] <= range_m]
    assert not left_out or (len(found) == most and rank(found[-1]) < min(map(rank, left_out)))
