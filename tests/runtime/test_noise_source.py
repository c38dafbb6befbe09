"""Noise drawn ahead is the noise that would have been drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.noise_source import NoiseSource


@given(st.integers(0, 100), st.lists(st.booleans(), min_size=1, max_size=8))
def test_it_does_not_matter_what_was_drawn_ahead(seed: int, ahead: Sequence[bool]) -> None:
    random, noise = np.random.default_rng(seed), NoiseSource(seed)
    for early in ahead:
        if early:
            noise.draw_ahead()
            noise.draw_ahead()  # there is one in stock already
        drawn = noise.draw((3, 4))
        assert drawn.dtype == np.float32
        np.testing.assert_array_equal(drawn, random.standard_normal((3, 4), dtype=np.float32))


def test_what_was_drawn_ahead_is_given_once() -> None:
    noise = NoiseSource(0)
    first = noise.draw((2, 2))
    noise.draw_ahead()
    ready = noise._ready
    assert ready is not None
    assert noise.draw((2, 2)) is ready
    assert not np.array_equal(first, ready)
    assert not np.array_equal(noise.draw((2, 2)), ready)


def test_another_shape_than_the_last_is_drawn_anew() -> None:
    noise = NoiseSource(0)
    noise.draw((2, 2))
    noise.draw_ahead()
    assert noise.draw((5, 1)).shape == (5, 1)
