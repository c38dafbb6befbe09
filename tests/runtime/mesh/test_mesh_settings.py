"""`[mesh]`: exactly one of three ways to know one's neighbours, and what goes with each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from networld_runtime.config import Config
from networld_runtime.config_keys import differences
from networld_runtime.config_reader import load_config
from networld_runtime.errors import ConfigError

SITE = "name,x_m,y_m\na,0,0\nb,0,300\nc,100,0\nd,200,0\n"


def _file(folder: Path, cell: str, mesh: str = "", adaptation: str = "") -> Path:
    file = folder / "cell.toml"
    file.write_text(
        f"""
        [cell]
        site = "test"
        name = "a"
        task = "power"
        {cell}
        [bundle]
        path = "bundle"
        [state]
        directory = "state"
        [mesh]
        {mesh}
        [adaptation]
        {adaptation}
        """
    )
    return file


def _config(folder: Path, *texts: str) -> Config:
    return load_config(_file(folder, *texts), environment={})


def _problems(folder: Path, *texts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _config(folder, *texts)
    return caught.value.problems


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site.csv").write_text(SITE)
    return tmp_path


def test_neighbours_by_list(tmp_path: Path) -> None:
    config = _config(tmp_path, 'neighbours = ["c", "b"]', "weights = { b = 0.5 }\nmessage_bits = 4")
    assert config.cell.neighbours == ("c", "b")
    assert (config.mesh.weights, config.mesh.message_bits) == ({"b": 0.5}, 4)
    assert config.mesh.age_weight == 1


def test_a_cell_without_neighbours_may_say_so(tmp_path: Path) -> None:
    assert _config(tmp_path, "neighbours = []").cell.neighbours == ()


def test_neighbours_by_position(site: Path) -> None:
    cell = _config(site, "", 'positions = "site.csv"\nmost_neighbours = 2').cell
    assert (cell.neighbours, cell.position_m) == (("c", "d"), (0, 0))
    cell = _config(site, "", 'positions = "site.csv"\nrange_m = 150').cell
    assert cell.neighbours == ("c",)


def test_a_site_that_moved_is_a_difference(site: Path) -> None:
    before = _config(site, "", 'positions = "site.csv"')
    (site / "site.csv").write_text(SITE.replace("b,0,300", "b,0,3"))
    assert differences(before, _config(site, "", 'positions = "site.csv"')) == ["cell.neighbours"]


def test_all_mistakes_of_the_site_s_file_are_told(site: Path) -> None:
    (site / "site.csv").write_text(SITE + "d,0,0\nE,0,0\n")
    found = _problems(site, "", 'positions = "site.csv"')
    assert [problem.partition("site.csv: ")[2][:6] for problem in found] == ["line 6", "line 7"]
    assert all(problem.startswith("mesh.positions: ") for problem in found)
    (site / "site.csv").write_text(SITE.replace("a,0,0\n", ""))
    (problem,) = _problems(site, "", 'positions = "site.csv"')
    assert problem.endswith("has no line for a, the cell itself (cell.name)")


def test_discovered_neighbours_are_none_yet(tmp_path: Path) -> None:
    config = _config(
        tmp_path,
        "position_m = [1, -2.5]",
        "discover = true\nweights = { x = 2 }",
        "enabled = false",
    )
    assert (config.cell.neighbours, config.cell.position_m) == ((), (1, -2.5))
    assert config.mesh.discover


CONTRADICTIONS: list[tuple[tuple[str, ...], tuple[str, str]]] = [
    (('neighbours = ["b"]', 'positions = "site.csv"'), ("cell.neighbours", "mesh.positions")),
    (
        ('neighbours = ["b"]', "discover = true", "enabled = false"),
        ("cell.neighbours", "mesh.discover"),
    ),
    (
        ("position_m = [0, 0]", 'positions = "site.csv"\ndiscover = true', "enabled = false"),
        ("mesh.positions", "mesh.discover"),
    ),
    (("", ""), ("cell.neighbours", "mesh.positions")),
    (('neighbours = ["b"]', "range_m = 5"), ("mesh.range_m", "cell.neighbours")),
    (('neighbours = ["b"]', "most_neighbours = 5"), ("mesh.most_neighbours", "cell.neighbours")),
    (('neighbours = ["b"]', "silent_s = 5"), ("mesh.silent_s", "cell.neighbours")),
    (("", 'positions = "site.csv"\nsilent_s = 5'), ("mesh.silent_s", "mesh.discover")),
    (("position_m = [0, 0]", 'positions = "site.csv"'), ("cell.position_m", "mesh.positions")),
    (("", "discover = true", "enabled = false"), ("cell.position_m", "mesh.discover")),
    (("position_m = [0, 0]", "discover = true"), ("adaptation.enabled", "mesh.discover")),
    (
        ("position_m = [0, 0]", "discover = true", "enabled = true"),
        ("adaptation.enabled", "couplings"),
    ),
]


@pytest.mark.parametrize(("texts", "keys"), CONTRADICTIONS)
def test_a_contradiction_names_both_keys(
    site: Path, texts: tuple[str, ...], keys: tuple[str, str]
) -> None:
    (problem,) = _problems(site, *texts)
    assert all(key in problem for key in keys), problem


@pytest.mark.parametrize(
    ("mesh", "found"),
    [
        ("weights = { b = -1 }", "mesh.weights: b = -1"),
        ("weights = { b = true }", "mesh.weights: b = True"),
        ("weights = { b = nan }", "mesh.weights: b = nan"),
        ('weights = { "B b" = 1 }', "mesh.weights: 'B b'"),
        ("weights = { q = 1 }", "mesh.weights: q is no neighbour; neighbours: b"),
        ("weights = 3", "mesh.weights = 3"),
        ("age_weight = 0", "mesh.age_weight = 0"),
        ("age_weight = 1.5", "mesh.age_weight = 1.5"),
        ("message_bits = 5", "mesh.message_bits = 5: expected 8 or 4"),
        ("message_bits = 8.0", "mesh.message_bits = 8.0: expected 8 or 4"),
        ("positions = ''", "mesh.positions = ''"),
    ],
)
def test_a_bad_value_is_told(tmp_path: Path, mesh: str, found: str) -> None:
    (problem,) = _problems(tmp_path, 'neighbours = ["b"]', mesh)
    assert problem.startswith(found)


def test_with_keys_it_is_said_who_may_be_discovered(tmp_path: Path) -> None:
    texts = ("position_m = [0, 0]", "discover = true")
    keys = 'enabled = false\n[authentication]\nkey = "a.key"\ncells = "cells"\n'
    (problem,) = _problems(tmp_path, *texts, keys)
    assert problem.startswith("authentication.receivers: missing")
    assert "mesh.discover" in problem
    config = _config(tmp_path, *texts, keys + 'receivers = ["b", "c"]')
    assert config.authentication.receivers == ("b", "c")


@pytest.mark.parametrize("value", ["[1]", "[1, 2, 3]", "['1', 2]", "[nan, 0]", "[1e9, 0]", "5"])
def test_a_position_is_two_numbers(tmp_path: Path, value: Any) -> None:
    (problem,) = _problems(tmp_path, f'neighbours = ["b"]\nposition_m = {value}')
    assert problem.startswith("cell.position_m = ")
    assert problem.endswith("expected [x, y], two numbers of at most 1e+07 in size")
