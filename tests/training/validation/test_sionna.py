"""Our radio against Sionna, an independent implementation of TR 38.901.

The values of Sionna lie in sionna_values.json. The slow test has Sionna compute them again, where it is
installed: `make test-references`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_training.radio.channel import Channel, ChannelConfig
from networld_training.radio.geometry import HexagonalLayout
from networld_training.radio.link import noise_dbm
from networld_training.radio.propagation import MODELS, line_of_sight_probability, path_loss_db
from networld_training.radio.streams import spawn_streams

SCRIPT = Path(__file__).with_name("make_sionna_values.py")
FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("sionna_values.json").read_text())
LINKS: list[dict[str, Any]] = FROZEN["links"]
GEOMETRY: dict[str, Any] = FROZEN["geometry"]
SINR_TOLERANCE_DB = {5: 0.5, 50: 0.5, 95: 1.2}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("line_of_sight", [True, False])
def test_path_loss_agrees_with_sionna(model: str, line_of_sight: bool) -> None:
    name = "los_path_loss_db" if line_of_sight else "nlos_path_loss_db"
    rows = [row for row in LINKS if row["model"] == model]
    assert len({row["carrier_hz"] for row in rows}) >= 3
    for row in rows:
        loss_db = path_loss_db(model, line_of_sight, row["distance_m"], row["carrier_hz"])
        assert loss_db == pytest.approx(row[name], abs=1e-3), row


@pytest.mark.parametrize("model", MODELS)
def test_line_of_sight_probability_agrees_with_sionna(model: str) -> None:
    rows = [row for row in LINKS if row["model"] == model]
    ours = line_of_sight_probability(model, [row["distance_m"] for row in rows])
    assert ours == pytest.approx([row["los_probability"] for row in rows], abs=1e-6)


def test_geometry_agrees_with_sionna() -> None:
    """19 sites with one omnidirectional cell each: percentiles of the SINR at full power."""
    layout = HexagonalLayout(GEOMETRY["cells"], GEOMETRY["inter_site_distance_m"])
    config = ChannelConfig(
        layout=layout,
        users_per_cell=30,
        model=GEOMETRY["model"],
        carrier_hz=GEOMETRY["carrier_hz"],
        speed_m_s=1.0,
        slot_s=0.02,
        fading=False,
    )
    radio = Channel(config, [spawn_streams(seed) for seed in range(32)])
    noise = noise_dbm(GEOMETRY["bandwidth_hz"], GEOMETRY["noise_figure_db"])
    power = 10 ** ((GEOMETRY["transmit_power_dbm"] - noise) / 10) * radio.large_scale_gain
    serving = power.max(axis=-1)
    ratio_db = 10 * np.log10(serving / (power.sum(axis=-1) - serving + 1))
    ours = np.percentile(ratio_db, GEOMETRY["percentiles"])
    for percentile, value_db, sionna_db in zip(
        GEOMETRY["percentiles"], ours, GEOMETRY["sinr_db"], strict=True
    ):
        tolerance_db = SINR_TOLERANCE_DB[percentile]
        assert value_db == pytest.approx(sionna_db, abs=tolerance_db), percentile
    assert radio.line_of_sight.mean() == pytest.approx(GEOMETRY["los_share"], abs=0.003)


@pytest.mark.slow
def test_sionna_still_says_what_is_frozen(tmp_path: Path) -> None:
    """Links must agree exactly; the geometry is drawn anew, and may differ by chance."""
    pytest.importorskip("sionna", reason="Sionna has its own environment: make test-references")
    assert version("sionna-no-rt") == FROZEN["sionna"]
    output = tmp_path / "values.json"
    options = ["--drops", "100", "--seed", "2", "--output", str(output)]
    subprocess.run([sys.executable, str(SCRIPT), *options], check=True)
    values = json.loads(output.read_text())
    for row, frozen in zip(values["links"], LINKS, strict=True):
        assert row == pytest.approx(frozen, abs=1e-6)
    geometry = values["geometry"]
    for name in ("sinr_db", "los_share"):
        both = np.hypot(geometry["standard_error"][name], GEOMETRY["standard_error"][name])
        difference = np.abs(np.subtract(geometry[name], GEOMETRY[name]))
        assert (difference <= 4 * both).all(), (name, geometry[name], GEOMETRY[name])
