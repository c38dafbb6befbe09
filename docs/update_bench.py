"""Write the section of README.md on speed from docs/bench.json; `make bench` measures it and calls this."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BENCH = ROOT / "docs" / "bench.json"
SECTION = re.compile(r"(<!-- bench: .*? -->\n).*?(<!-- bench end -->)", re.DOTALL)
OTHERS = {
    "policy": "the policy, one pass",
    "distilled": "distilled",
    "distilled-int8": "distilled, int8",
    "full": "full, guided in every step",
}


def bench_section(bench: dict[str, Any]) -> str:
    """Return tables of our own ways and of other planners, as Markdown."""
    task = bench["rows"][0]["task"]
    candidates = int(bench["bundle"]["candidates"])
    rows = [
        row
        for row in bench["rows"]
        if row["task"] == task
        and (row["pace_ms"], row["load"]) == (0, "idle")
        and (row["provider"], row["threads"]) == ("cpu", 1)
        and row["candidates"] in (0, candidates)
    ]
    lines = [
        f"| `{task}`, one core | denoising steps | plans | p50, ms | p99, ms | of the core's limit | score |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        score = "" if row["score"] is None else f"{row['score']:.0f}"
        lines.append(
            f"| {OTHERS[row['variant'] or row['form']]} | {row['k'] or ''} | {row['candidates'] or ''} "
            f"| {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {100 * row['fraction']:.0f} % | {score} |"
        )
    ours = [row for row in rows if row["form"] == "fused" and row["k"] == 2]
    heads = [f"times ours ({OTHERS[row['variant']]}, 2 steps)" for row in ours]
    lines += [
        "",
        f"| planner in torch, same run | p50, ms | {' | '.join(heads)} |",
        f"|---|---|{'---|' * len(ours)}",
    ]
    for name, p50_ms in bench["peers"].items():
        ratios = [f"{p50_ms / row['p50_ms']:.1f}" for row in ours]
        lines.append(f"| {name} | {p50_ms:.2f} | {' | '.join(ratios)} |")
    machine, others = bench["machine"], bench["others"]
    lines += [
        "",
        f"{machine['processor']}, ONNX Runtime {machine['onnxruntime']}; a fresh process has its first "
        f"action after {others['start_s']:.2f} s and takes {others['memory_mb']:.0f} MB. A message is "
        f"written in {1000 * others['encode_message_ms']:.0f} µs and read in "
        f"{1000 * others['decode_message_ms']:.0f} µs.",
    ]
    return "\n".join(lines)


def updated_readme() -> str:
    """Return README.md with the section of docs/bench.json."""
    section = bench_section(json.loads(BENCH.read_text()))
    return SECTION.sub(lambda found: f"{found[1]}\n{section}\n{found[2]}", README.read_text())


if __name__ == "__main__":
    README.write_text(updated_readme())
