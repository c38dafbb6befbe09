"""Statistics of the channel, what it consists of, and independence of the batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import j0  # type: ignore[import-untyped]

from networld_runtime.errors import ConfigError
from networld_training.radio.channel import Channel, ChannelConfig
from networld_training.radio.geometry import HexagonalLayout
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


def test_an_episode_does_not_depend_on_its_batch() -> None:
    batch, single = channel([7, 8, 9]), channel([8])
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
