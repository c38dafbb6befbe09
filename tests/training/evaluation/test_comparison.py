"""Episodes: balanced, the same for all policies; results do not depend on order or processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.errors import ConfigError, NetWorldError
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.comparison import Comparison
from networld_training.evaluation.episodes import draw_seeds
from networld_training.evaluation.results import ScenarioResult, is_ordered
from networld_training.evaluation.scores import ScoredEpisodes
from networld_training.evaluation.statistics import Estimate
from networld_training.tasks.power import PowerTask
from networld_training.tasks.power.heuristics import POWER_HEURISTICS
from networld_training.tasks.registry import TASKS, find_scenario
from networld_training.tasks.scenario import Scenario

WATCHING = """
import numpy as np

SEEN = []

class {name}:
    name = "{name}"
    information = "local"

    def reset(self):
        pass

    def act(self, task):
        if task.slot == 0:
            SEEN.append(task.observation.copy())
            with open({file!r}, "a") as file:
                file.write(f"{{task.seeds}} {{task.observation.sum():.6f}}\\n")
        return np.zeros(task.action_shape)
"""


def run(*scenarios: Scenario, **options: object) -> list[ScenarioResult]:
    return Comparison(scenarios, **options).run(lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("episodes", "networks"), [(12, 3), (13, 3), (1, 9), (64, 8)])
def test_networks_have_their_even_share_of_the_episodes(episodes: int, networks: int) -> None:
    seeds = draw_seeds(episodes, 0, networks)
    counts = Counter(seed % networks for seed in seeds)
    assert len(set(seeds)) == episodes
    assert max(counts.values()) - min([counts[each] for each in range(networks)]) <= 1
    assert [seed % networks for seed in seeds] == [i % networks for i in range(episodes)]


def test_seeds_follow_from_the_seed_and_are_no_data_sets() -> None:
    assert draw_seeds(8, 3) == draw_seeds(8, 3)
    assert not set(draw_seeds(8, 3)) & set(draw_seeds(8, 4))
    assert min(draw_seeds(1000, 0)) >= 2**32


def test_a_policy_achieves_what_it_does_by_itself(mixed: Scenario) -> None:
    (result,) = run(mixed, episodes=7, only=True, policies=("full",))
    assert [one.name for one in result.contenders] == ["random", "wmmse-pf", "full"]
    for place, seed in enumerate(result.seeds):
        task = PowerTask(mixed.network_of(seed), [seed])  # type: ignore[arg-type]
        alone = run_policy(task, POWER_HEURISTICS["full"]())
        for name, values in alone.items():
            assert result.metrics["full"][name][place] == pytest.approx(values[0])


def test_all_policies_meet_the_same_episodes(mixed: Scenario, tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        source = WATCHING.format(name=name, file=str(tmp_path / f"{name}.txt"))
        (tmp_path / f"{name}.py").write_text(source)
        texts.append(f"{tmp_path / name}.py:{name}")
    (result,) = run(mixed, episodes=6, only=True, policies=texts)
    seen = [(tmp_path / f"{name}.txt").read_text() for name in ("one", "two")]
    assert seen[0] == seen[1]
    assert len(seen[0].splitlines()) == 3
    assert (result.metrics["one"]["jain"] == result.metrics["two"]["jain"]).all()


def test_the_order_of_policies_and_scenarios_does_not_matter(
    short: Scenario, mixed: Scenario
) -> None:
    names = ["full", "price-mean"]
    first = run(short, mixed, episodes=6, only=True, policies=names)
    second = run(mixed, short, episodes=6, only=True, policies=names[::-1])
    for one, other in zip(first, second[::-1], strict=True):
        assert {row.policy: row for row in one.rows} == {row.policy: row for row in other.rows}


def test_two_processes_give_the_results_of_one(short: Scenario, mixed: Scenario) -> None:
    done: list[int] = []
    names = ("price-mean",)
    alone = run(short, mixed, episodes=6, only=True, policies=names)
    together = Comparison((short, mixed), names, only=True, episodes=6, jobs=2).run(done.append)
    assert [one.rows for one in alone] == [one.rows for one in together]
    assert [one.paired() for one in alone] == [one.paired() for one in together]
    assert done == sorted(done)
    assert done[-1] == 100


def test_an_error_in_another_process_arrives_whole(short: Scenario, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    source = WATCHING.format(name="bad", file="/dev/null")
    file.write_text(source.replace("np.zeros(task.action_shape)", "np.zeros(3)"))
    policies = (f"{file}:bad",)
    with pytest.raises(NetWorldError, match=r"act returned shape \(3,\)") as raised:
        Comparison((short,), policies, only=True, episodes=2, jobs=2).run(lambda _: None)
    assert raised.value.exit_code == 8


def test_rules_that_do_not_fit_are_left_out_unless_asked_for() -> None:
    scenarios = [TASKS["sleep"].scenarios[name] for name in ("umi200", "hex19")]
    small, large = Comparison(scenarios).entries
    assert "exhaustive" in [one.name for one in small.contenders]
    assert "exhaustive" not in [one.name for one in large.contenders]
    with pytest.raises(ConfigError, match="exhaustive does not fit networld/sleep/hex19-v0"):
        assert Comparison(scenarios, ("exhaustive",)).entries


def test_numbers_out_of_range_are_told_together() -> None:
    with pytest.raises(ConfigError, match="3 problems"):
        Comparison((), episodes=0, seed=-1, jobs=0)


def test_against_must_be_there(short: Scenario) -> None:
    with pytest.raises(ConfigError, match="--against you: no policy in test/power/short-v0"):
        run(short, against="you")


def test_the_bar_knows_the_mean_field_at_most(short: Scenario) -> None:
    (result,) = run(short, episodes=8)
    scores = {row.policy: row.score.value for row in result.rows}
    bar = result.bar()
    assert scores[bar] == max(
        scores[one.name]
        for one in result.contenders
        if one.information in {"none", "local", "mean-field"}
    )
    assert {one.against for one in result.paired()} == {bar}
    assert {one.against for one in result.paired("full")} == {"full"}


def test_the_ceiling_is_no_bar() -> None:
    (result,) = run(
        find_scenario("power/umi200"), policies=("ceiling", "price-mean"), only=True, episodes=2
    )
    assert [one.kind for one in result.contenders[2:]] == ["ceiling", "rule"]
    assert result.bar() == "price-mean"
    assert result.paired("ceiling")[0].against == "ceiling"


def test_order_holds_only_where_no_intervals_overlap(short: Scenario) -> None:
    (result,) = run(short, episodes=2, only=True, policies=("full",))
    rows = [
        replace(row, score=Estimate(value, value - width, value + width))
        for row, value, width in zip(result.rows, (0, 100, 50), (0, 0, 49), strict=True)
    ]
    assert is_ordered(rows, ["random", "full", "wmmse-pf"])
    assert not is_ordered(rows, ["random", "wmmse-pf", "full"])
    wide = [*rows[:2], replace(rows[2], score=Estimate(50, 1, 101))]
    assert not is_ordered(wide, ["random", "full", "wmmse-pf"])
    assert is_ordered(wide, ["random", "full"])


def test_networks_are_the_strata_of_the_intervals(mixed: Scenario) -> None:
    (result,) = run(mixed, episodes=9, only=True, policies=("full",))
    (row,) = (row for row in result.rows if row.policy == "full")
    scores = [
        ScoredEpisodes("here", result.spec, result.metrics, strata, 0).scores()["full"]
        for strata in ([0, 1, 2] * 3, [0] * 9)
    ]
    assert row.score == scores[0]
    assert row.score != scores[1]


def test_kpis_are_means_over_the_episodes(short: Scenario) -> None:
    (result,) = run(short, episodes=3, only=True)
    for row in result.rows:
        for name, value in row.kpis.items():
            assert value == pytest.approx(np.mean(result.metrics[row.policy][name]))
        assert row.episodes == 3
