"""Write the results of README.md from docs/*.json; `make results` measures them and calls this."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DEMO = ROOT / "docs" / "demo.json"
EVALUATION = ROOT / "docs" / "evaluation.json"
SECTION = re.compile(r"(<!-- results: .*? -->\n).*?(<!-- results end -->)", re.DOTALL)
NETWORLD, CEILING = "networld", "ceiling"
AS_INFORMED = ("none", "local", "mean-field")
NAMES = {
    "wmmse-pf": "WMMSE-PF (genie)",
    "networld": "**NetWorld, adapted**",
    "networld-base": "**NetWorld**",
    "price-mean": "price, mean field",
    "price-each": "price, one per neighbour",
    "full": "full power",
    "random": "random power",
}


def results_section(results: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Return the table and the lines below it, as Markdown."""
    rows = ["| policy | score | mean log rate | 5 % user rate, b/s/Hz | cell rate, b/s/Hz |"]
    rows.append("|---|---|---|---|---|")
    scores, kpis = results["score"], results["kpis"]
    for name in sorted(NAMES, key=lambda name: -scores[name]):
        rates = kpis[name]
        rows.append(
            f"| {NAMES[name]} | {scores[name]:.1f} | {rates['mean_log_rate']:.3f} "
            f"| {rates['user_rate_p5']:.3f} | {rates['cell_spectral_efficiency']:.2f} |"
        )
    messages, plan, adaptation = results["messages"], results["plan_ms"], results["adaptation"]
    drops = 2 * results["episodes"] + results["support_episodes"]
    deadlines = drops * results["slots"] * results["cells"]
    received = 100 * messages["received"] / messages["expected"]
    rows.append("")
    rows.append(
        f"{results['cells']} cells, {results['episodes']} drops, seed {results['seed']}, broker "
        f"{results['broker']}: {received:.2f} % of {messages['expected']} messages received, "
        f"{messages['payload_bytes']['max']} bytes at most; a plan took {plan['p50']:.1f} ms "
        f"(p50) and {plan['p99']:.1f} ms (p99) with all cells sharing {results['cores']} cores; "
        f"{results['deadline_missed']} of {deadlines} deadlines missed. Adapting to "
        f"{results['support_episodes']} other drops took {adaptation['seconds']:.0f} s; "
        f"{adaptation['accepted']} of {results['cells']} cells kept their adapter; the score was "
        f"{adaptation['score_before']:.1f} before and {adaptation['score_after']:.1f} after."
    )
    return "\n".join([*rows, "", *evaluation_lines(evaluation["rows"])])


def evaluation_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return a table of the evaluated scenarios: ours, and the best rule that knows no more."""
    lines = [
        f"On {rows[0]['episodes']} other drops each, without MQTT (`networld evaluate`, "
        "docs/evaluation.json; scores with 95 % intervals):",
        "",
        "| scenario | NetWorld | best rule that knows no more | | information ceiling |",
        "|---|---|---|---|---|",
    ]
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        here = {row["policy"]: row for row in rows if row["scenario"] == scenario}
        ours, ceiling = here.pop(NETWORLD), here.pop(CEILING)
        rules = [row for row in here.values() if row["information"] in AS_INFORMED]
        best = max(rules, key=lambda row: row["score"]["iqm"])
        name = scenario.removeprefix("networld/").rpartition("-v")[0]
        lines.append(
            f"| `{name}` | {with_interval(ours['score'])} "
            f"| {with_interval(best['score'])} | `{best['policy']}` | {with_interval(ceiling['score'])} |"
        )
    return lines


def with_interval(score: dict[str, float]) -> str:
    """Return a score as `81.5 [76.0, 86.9]`."""
    return f"{score['iqm']:.1f} [{score['low']:.1f}, {score['high']:.1f}]"


def updated_readme() -> str:
    """Return README.md with the section of docs/demo.json."""
    section = results_section(json.loads(DEMO.read_text()), json.loads(EVALUATION.read_text()))
    return SECTION.sub(lambda found: f"{found[1]}{section}\n{found[2]}", README.read_text())


if __name__ == "__main__":
    README.write_text(updated_readme())
