"""Settings of the demonstration and the files that cells get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomllib

from networld_runtime.errors import ConfigError
from networld_training.demo.cells import to_toml
from networld_training.demo.settings import DemoSettings


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        DemoSettings(
            task="slicing",
            cells=8,
            episodes=0,
            support_episodes=0,
            slots=1,
            slot_ms=0.1,
            seed=-1,
            json=tmp_path / "missing" / "result.json",
        )
    assert len(caught.value.problems) == 8
    assert "--support-episodes 0: expected 1 to 1000" in caught.value.problems


def test_drops_follow_the_seed_and_do_not_overlap() -> None:
    judged, learned_from = DemoSettings(seed=1).drop_seeds()
    assert (judged, learned_from) == DemoSettings(seed=1).drop_seeds()
    assert len(set(judged + learned_from)) == 10
    assert set(judged).isdisjoint(DemoSettings(seed=2).drop_seeds()[0])


def test_toml_survives_strange_paths() -> None:
    tables: dict[str, dict[str, Any]] = {
        "a": {"path": 'C:\\tmp\\"é𝄞', "number": 0.08, "names": ["b", "c"]},
        "d": {"e": 1},
    }
    assert tomllib.loads(to_toml(tables)) == tables
