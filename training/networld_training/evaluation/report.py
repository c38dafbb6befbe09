"""The page of published results, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from networld_training.evaluation.results import ScenarioResult
from networld_training.evaluation.table import heading, number, with_interval
from networld_training.tasks.spec import INFORMATION

INTRODUCTION = """# Results

{made}

A score of 0 is what `random` does and 100 what the task's expert does, on the same episodes: the same
users, fading and traffic. A cell of a table is the interquartile mean of the scores over the episodes and its
95 % interval; [evaluation.md](evaluation.md) defines both. The expert knows more than any cell can and is
still no upper bound. What a policy knows: *none*: nothing of the network; *local*: what its cell measures;
*mean-field*: also the average of what the neighbours told one slot ago; *one-hop*: also what each of them
told; *genie*: everything, at once. [results.csv](results.csv) and [results.json](results.json) hold all
figures. A cell is empty where a rule does not fit a scenario."""


def report_markdown(by_task: Mapping[str, Sequence[ScenarioResult]], made: str) -> str:
    """Return the page.

    Args:
        by_task: Results of each task, in the order in which they are shown.
        made: How they were made, as a sentence.
    """
    parts = [INTRODUCTION.format(made=made)]
    for task, results in by_task.items():
        parts += _task(task, results)
    return "\n\n".join(parts) + "\n"


def _task(task: str, results: Sequence[ScenarioResult]) -> list[str]:
    spec = results[0].spec
    scored = spec.kpis[0]
    direction = "higher" if scored.higher_is_better else "lower"
    references = [one for one in results if one.scenario.axis == "reference"]
    return [
        f"## {task}",
        f"Scored is {heading(scored)}, {direction} is better; the expert is `{spec.expert}`.",
        f"![Scores of all rules in all scenarios of the task {task}](results-{task}.png)",
        _scores(results),
        *(part for result in references for part in _kpis(result)),
        "### Scenarios",
        _scenarios(results),
    ]


def _scores(results: Sequence[ScenarioResult]) -> str:
    """Return a table of scores: a line for each policy, the one that knows least first."""
    known = {one.name: one.information for result in results for one in result.contenders}
    names = sorted(known, key=lambda name: INFORMATION.index(known[name]))
    scores = [{row.policy: row.score for row in result.rows} for result in results]
    return _table(
        ("policy", "knows", *(result.scenario.name for result in results)),
        (
            (
                f"`{name}`",
                known[name],
                *(with_interval(one[name], 0) if name in one else "" for one in scores),
            )
            for name in names
        ),
    )


def _kpis(result: ScenarioResult) -> list[str]:
    """Return the figures of merit of a scenario, the best score first."""
    kpis = result.spec.kpis
    ordered = sorted(result.rows, key=lambda row: -row.score.value)
    return [
        f"### {result.scenario.name} in native units, means over the episodes",
        _table(
            ("policy", "score", *(heading(kpi) for kpi in kpis)),
            (
                (
                    f"`{row.policy}`",
                    with_interval(row.score),
                    *(number(row.kpis[kpi.name]) for kpi in kpis),
                )
                for row in ordered
            ),
        ),
    ]


def _scenarios(results: Sequence[ScenarioResult]) -> str:
    """Return what the scenarios are, with the first digits of their digests."""
    return _table(
        ("scenario", "unlike the training family in", "networks", "SHA-256"),
        (
            (
                f"`{one.scenario.id}`",
                one.scenario.axis,
                str(len(one.scenario.networks)),
                f"`{one.scenario.digest()[:12]}`",
            )
            for one in results
        ),
    )


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
