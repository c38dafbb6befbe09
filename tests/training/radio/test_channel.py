"""Statistics of the channel, what it consists of, and independence of the batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import j0  # type: ignore[import-untyped]

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import IntArray
from networld_training.radio.channel import Channel, ChannelConfig
from networld_training.radio.geometry import HexagonalLayout
from networld_training.radio.propagation import line_of_sight_probability, path_loss_db
from networld_training.radio.streams import spawn_streams


def config(**changes: Any) -> ChannelConfig:
    values: dict[str, Any] = {
        "layout": HexagonalLayout(7, 200.0),
        "users_per_cell": 4,
        "model": "umi",
        "carrier_hz": 3.5e9,
        "speed_m_s": 1.0,
        "slot_s": 0.02,
    }
    return ChannelConfig(**(values | changes))


def channel(seeds: Sequence[int], **changes: Any) -> Channel:
    return Channel(config(**changes), [spawn_streams(seed) for seed in seeds])


def test_fading_has_unit_mean_and_correlates_as_jakes_at_lag_one() -> None:
    radio = channel(range(60), users_per_cell=8)
    first = radio.gain / radio.large_scale_gain
    radio.advance()
    second = radio.gain / radio.large_scale_gain
    rho = j0(2 * np.pi * 3.5e9 / 299_792_458 * 0.02)
    assert first.mean() == pytest.approx(1, abs=0.03)
    assert second.mean() == pytest.approx(1, abs=0.03)
    # The powers of two complex Gaussians correlate with the square of the amplitudes' correlation.
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert correlation == pytest.approx(rho**2, abs=0.03)


def test_fading_is_rayleigh() -> None:
    """The power of Rayleigh fading is exponential: mean 1, mean square 2, above 1 with e^-1."""
    power = channel(range(60), users_per_cell=8)
    ratio = power.gain / power.large_scale_gain
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert (ratio**2).mean() == pytest.approx(2, abs=0.15)
    assert (ratio > 1).mean() == pytest.approx(np.exp(-1), abs=0.01)


@pytest.mark.parametrize(("model", "deviations_db"), [("umi", (4.0, 7.82)), ("uma", (4.0, 6.0))])
def test_shadowing_has_the_deviation_of_the_table(
    model: str, deviations_db: tuple[float, float]
) -> None:
    """What is left of the gain when the path loss is taken off, in dB."""
    radio = channel(range(40), model=model, layout=HexagonalLayout(19, 300.0))
    sight = radio.line_of_sight
    distance_m = radio.config.layout.distances_m(radio.position_m)
    loss_db = -10 * np.log10(radio.large_scale_gain)
    left_db = loss_db - path_loss_db(model, sight, distance_m, radio.config.carrier_hz)
    for state, deviation_db in zip((sight, ~sight), deviations_db, strict=True):
        assert left_db[state].mean() == pytest.approx(0, abs=0.2)
        assert left_db[state].std() == pytest.approx(deviation_db, rel=0.03)


def test_line_of_sight_is_as_likely_as_the_table_says() -> None:
    radio = channel(range(40), layout=HexagonalLayout(19, 300.0), users_per_cell=40)
    probability = line_of_sight_probability(
        "umi", radio.config.layout.distances_m(radio.position_m)
    )
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 1.0)):
        band = (probability > low) & (probability <= high)
        share = radio.line_of_sight[band].mean()
        assert share == pytest.approx(probability[band].mean(), abs=0.02)


def test_users_move_once_in_several_slots_by_that_much_more() -> None:
    """Five slots at once: the same path, and shadowing that fades over the whole distance."""
    changes: dict[str, Any] = {"users_per_cell": 40, "speed_m_s": 20.0, "slot_s": 0.05}
    rare, often = channel(range(8), large_scale_slots=5, **changes), channel(range(8), **changes)
    start, before, sight = rare.position_m, rare.shadowing.copy(), rare.line_of_sight
    assert (start == often.position_m).all()
    for slot in range(1, 6):
        rare.advance()
        often.advance()
        assert (rare.position_m == start).all() == (slot < 5)
        assert (rare.shadowing == before).all() == (slot < 5)
    assert rare.position_m == pytest.approx(often.position_m)
    for state, length_m in zip((sight, ~sight), (10, 13), strict=True):
        correlation = np.corrcoef(before[state], rare.shadowing[state])[0, 1]
        assert correlation == pytest.approx(np.exp(-5 / length_m), abs=0.05)
        assert rare.shadowing[state].std() == pytest.approx(1, abs=0.05)


def test_fading_changes_in_every_slot_even_if_users_move_rarely() -> None:
    radio = channel([1], large_scale_slots=5)
    before, slow = radio.gain, radio.large_scale_gain
    radio.advance()
    assert (radio.gain != before).all()
    assert (radio.large_scale_gain == slow).all()


def test_without_fading_the_gain_is_that_of_the_large_scale() -> None:
    """Fading has its own stream: leaving it out changes nothing else."""
    faded, plain = channel([1, 2]), channel([1, 2], fading=False)
    for _ in range(3):
        assert (plain.gain == plain.large_scale_gain).all()
        assert (plain.large_scale_gain == faded.large_scale_gain).all()
        faded.advance()
        plain.advance()


def users_by_cell(radio: Channel) -> IntArray:
    """Return how many users are nearest to each grid position `[E, K]`."""
    layout = radio.config.layout
    nearest = layout.distances_m(radio.position_m).argmin(axis=-1)
    return np.asarray((nearest[..., None] == np.arange(layout.cells)).sum(axis=1))


def test_every_cell_has_its_users_without_hotspots() -> None:
    assert (users_by_cell(channel(range(5), users_per_cell=6)) == 6).all()


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_hotspots_have_log_normal_shares(sigma: float) -> None:
    """The logarithms of the cells' shares spread by sigma; the number of users stays."""
    radio = channel(range(100), users_per_cell=200, hotspot_sigma=sigma, fading=False)
    counts = users_by_cell(radio)
    assert (counts.sum(axis=-1) == 7 * 200).all()
    deviation = np.log(np.maximum(counts, 1)).std(axis=-1, ddof=1)
    assert np.sqrt((deviation**2).mean()) == pytest.approx(sigma, rel=0.1)
    assert np.log(counts.mean(axis=0) / 200) == pytest.approx(0, abs=0.35)  # no cell is preferred


def test_fading_correlation_is_never_negative() -> None:
    assert config(speed_m_s=2.0).fading_correlation == 0
    assert config(speed_m_s=0.0).fading_correlation == 1


@pytest.mark.parametrize(("model", "lengths_m"), [("umi", (10, 13)), ("uma", (37, 50))])
def test_shadowing_is_standard_and_fades_with_distance(
    model: str, lengths_m: tuple[float, float]
) -> None:
    radio = channel(range(40), model=model, speed_m_s=100.0, slot_s=0.05)
    sight, before = radio.line_of_sight, radio.shadowing.copy()
    radio.advance()
    for state, length_m in zip((sight, ~sight), lengths_m, strict=True):
        assert before[state].std() == pytest.approx(1, abs=0.05)
        correlation = np.corrcoef(before[state], radio.shadowing[state])[0, 1]
        assert correlation == pytest.approx(np.exp(-5 / length_m), abs=0.06)
    assert radio.shadowing.std() == pytest.approx(1, abs=0.05)


def test_users_move_at_their_speed_and_stay_in_the_cluster() -> None:
    radio = channel(range(4), speed_m_s=10.0, slot_s=1.0)
    for _ in range(30):
        before = radio.position_m
        radio.advance()
        moved = np.hypot(*np.moveaxis(radio.position_m - before, -1, 0))
        assert np.isclose(moved, 10).mean() > 0.9  # the others crossed the border
        assert radio.config.layout.distances_m(radio.position_m).min(axis=-1).max() < 200 / 3**0.5


def test_a_standing_user_keeps_its_channel() -> None:
    radio = channel([1], speed_m_s=0.0)
    before = radio.gain.copy()
    radio.advance()
    assert np.allclose(radio.gain, before)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"large_scale_slots": 3},
        {"hotspot_sigma": 1.0},
        {"fading": False},
        {"layout": HexagonalLayout(7, 200.0, jitter=0.3, jitter_seed=4)},
    ],
    ids=str,
)
def test_an_episode_does_not_depend_on_its_batch(changes: dict[str, Any]) -> None:
    batch, single = channel([7, 8, 9], **changes), channel([8], **changes)
    for _ in range(5):
        assert (batch.gain[1] == single.gain[0]).all()
        assert (batch.position_m[1] == single.position_m[0]).all()
        batch.advance()
        single.advance()


def test_a_copy_goes_on_identically() -> None:
    original = channel([3, 4])
    original.advance()
    twin = copy.deepcopy(original)
    original.advance()
    twin.advance()
    assert (original.gain == twin.gain).all()


def test_streams_are_independent_of_each_other() -> None:
    quiet, busy = spawn_streams(5), spawn_streams(5)
    busy.policy.random(100)
    busy.traffic.random(100)
    assert quiet.fading.random() == busy.fading.random()
    assert quiet.topology.random() != quiet.mobility.random()


def test_every_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        config(users_per_cell=0, model="rma", carrier_hz=1.0, speed_m_s=-1.0, slot_s=0.0)
    assert len(error.value.problems) == 5
    with pytest.raises(ConfigError) as error:
        config(hotspot_sigma=-0.1, large_scale_slots=0)
    assert len(error.value.problems) == 2
