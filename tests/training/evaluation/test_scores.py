"""Scores: random is 0, the expert is 100, and pairs of policies are compared episode by episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_runtime.errors import DataError
from networld_training.evaluation.scores import Metrics, ScoredEpisodes
from networld_training.tasks.power.contract import POWER_SPEC
from networld_training.tasks.spec import Kpi, TaskSpec

KPI = POWER_SPEC.kpis[0].name
LOWER = replace(POWER_SPEC, kpis=(Kpi(KPI, "", higher_is_better=False),))


def made_up(episodes: int = 16, seed: int = 0) -> dict[str, Metrics]:
    """Return results in which `half` gains half of what the expert gains, and `noisy` about that."""
    random = np.random.default_rng(seed)
    base = random.normal(size=episodes)
    gain = random.uniform(1, 3, size=episodes)
    noise = random.normal(size=episodes)
    values = {
        "random": base,
        "half": base + 0.5 * gain,
        "noisy": base + 0.5 * gain + noise,
        "wmmse-pf": base + gain,
    }
    return {name: {KPI: value} for name, value in values.items()}


def scored(metrics: Mapping[str, Metrics], spec: TaskSpec = POWER_SPEC) -> ScoredEpisodes:
    episodes = len(metrics["random"][KPI])
    return ScoredEpisodes("here", spec, metrics, [0] * episodes, 0)


def test_the_references_are_exact() -> None:
    scores = scored(made_up()).scores()
    assert (scores["random"].value, scores["random"].low, scores["random"].high) == (0, 0, 0)
    expert = scores["wmmse-pf"]
    assert (expert.value, expert.low, expert.high) == (100, 100, 100)


def test_what_makes_an_episode_hard_cancels() -> None:
    half = scored(made_up()).scores()["half"]
    assert [half.value, half.low, half.high] == pytest.approx([50, 50, 50])
    noisy = scored(made_up()).scores()["noisy"]
    assert noisy.low < noisy.value < noisy.high


@given(st.floats(-10, 10), st.floats(0.1, 10), st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_scores_do_not_depend_on_the_unit(shift: float, scale: float, episodes: int) -> None:
    metrics = made_up(episodes)
    other = {name: {KPI: scale * one[KPI] + shift} for name, one in metrics.items()}
    for name, score in scored(metrics).scores().items():
        assert scored(other).scores()[name].value == pytest.approx(score.value, abs=1e-6)


def test_lower_is_better_where_the_task_says_so() -> None:
    metrics = made_up()
    mirrored = {name: {KPI: -one[KPI]} for name, one in metrics.items()}
    assert scored(mirrored, LOWER).scores() == scored(metrics).scores()
    with pytest.raises(DataError, match="no better than random"):
        scored(metrics, LOWER)


def test_the_order_of_the_policies_does_not_matter() -> None:
    metrics = made_up()
    turned = dict(reversed(metrics.items()))
    assert scored(turned).scores() == scored(metrics).scores()


@pytest.mark.parametrize("episodes", [1, 2, 3])
def test_few_episodes_have_intervals_too(episodes: int) -> None:
    for score in scored(made_up(episodes)).scores().values():
        assert score.low <= score.value + 1e-9
        assert score.value <= score.high + 1e-9


def test_draws_in_which_the_expert_gains_nothing_are_left_out() -> None:
    metrics = made_up(4)
    gains = np.array([-0.9, 1.0, 1.0, -0.9])  # the mean of most draws is below 0
    metrics["wmmse-pf"] = {KPI: metrics["random"][KPI] + gains}
    scores = scored(metrics).scores()
    assert np.isfinite([scores["half"].low, scores["half"].high]).all()
    assert scores["half"].low > 0


def test_paired_comparison_by_hand() -> None:
    base = np.array([5.0, -3.0, 0.0, 8.0])
    gains = {
        "random": [0.0, 0.0, 0.0, 0.0],
        "wmmse-pf": [10.0, 10.0, 10.0, 10.0],
        "a": [4.0, 6.0, 5.0, 5.0],
        "b": [4.0, 5.0, 3.0, 9.0],
    }
    metrics: dict[str, Metrics] = {name: {KPI: base + gain} for name, gain in gains.items()}
    compared = {one.policy: one for one in scored(metrics).paired("b")}
    assert set(compared) == {"random", "wmmse-pf", "a"}
    # differences 0, 1, 2, -4 points of ten: the middle two are 0 and 1; one tie, two wins, one loss
    assert compared["a"].difference.value == pytest.approx(5)
    assert compared["a"].improvement.value == pytest.approx(2.5 / 4)
    assert compared["a"].improvement.low < 0.5 < compared["a"].improvement.high
    assert compared["wmmse-pf"].improvement.value == 1
    assert compared["random"].against == "b"


def test_policies_are_resampled_together() -> None:
    metrics = made_up()
    metrics["shifted"] = {KPI: metrics["noisy"][KPI] + 0.1}
    (one,) = (each for each in scored(metrics).paired("noisy") if each.policy == "shifted")
    assert one.difference.high - one.difference.low < 5
    assert one.improvement.low == 1


def test_an_expert_that_is_no_better_than_random_is_an_error() -> None:
    metrics = made_up(8)
    metrics["wmmse-pf"] = metrics["random"]
    with pytest.raises(DataError, match="here: on these 8 episodes the expert wmmse-pf"):
        scored(metrics)


def test_results_that_are_not_finite_are_an_error() -> None:
    metrics = made_up(8)
    metrics["half"] = {KPI: np.full(8, np.nan)}
    with pytest.raises(DataError, match="mean_log_rate of half is not finite in 8 episodes"):
        scored(metrics)
