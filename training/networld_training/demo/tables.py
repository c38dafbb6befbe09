"""The tables at the end of a demonstration."""

from __future__ import annotations

from rich.table import Table

from networld_training.demo.outcome import (
    ADAPTED,
    BASE,
    DemoOutcome,
    MessageCounts,
    percentile_of_counts,
    percentiles,
)
from networld_training.evaluation.table import Line, policy_table

BEARABLE_SHARE = 0.02

LABELS = {BASE: "NetWorld", ADAPTED: "NetWorld, adapted"}


def score_table(outcome: DemoOutcome) -> Table:
    """Return the figures of merit of all policies, NetWorld's standing out."""
    return policy_table(
        f"Policies on the same {outcome.settings.episodes} drops of "
        f"{outcome.spec.name}/{outcome.settings.network().name} "
        f"(score: 0 is random, 100 is {outcome.spec.expert})",
        outcome.spec.kpis,
        [
            Line(
                label=LABELS.get(name, name),
                score=score,
                kpis=outcome.results[name].means(),
                information=outcome.results[name].information,
                highlighted=name in (BASE, ADAPTED),
            )
            for name, score in outcome.scores.items()
        ],
    )


def network_table(outcome: DemoOutcome) -> Table:
    """Return what was counted in the cells and at the radio."""
    live, cells = outcome.live_cells, outcome.settings.cells
    count = f"{live} live cells" if live == cells else f"{live} of {cells} live cells"
    table = Table(
        title=f"{count}, {_processes(outcome)}, mode {outcome.mode}, broker {outcome.broker}",
        title_justify="left",
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    messages, adaptation, radio = outcome.messages, outcome.adaptation, outcome.radio
    slots = f"{radio.slots} of {outcome.spec.slot_s:g} s, played in {outcome.settings.slot_ms:g} ms"
    if outcome.slips:
        slots += f"; the schedule moved {outcome.slips} times"
    rows = [
        ("slots", slots),
        ("messages, whole run", _messages(messages)),
        ("messages, before adaptation", _messages(outcome.messages_before)),
        ("messages rejected", _by_reason(messages.rejected)),
        ("messages used", _used(messages)),
        (
            "payload of a message",
            f"{_number(messages.payload_p50)} bytes, largest {_number(messages.payload_largest)}",
        ),
        (
            "time to plan",
            f"p50 {_number(outcome.plan_p50_ms)} ms, p99 {_number(outcome.plan_p99_ms)} ms",
        ),
        ("slowest answer of a slot", _answer(outcome)),
        (
            "deadlines missed",
            f"{outcome.deadline_missed} of {radio.slots * cells} at the radio "
            f"({outcome.deadlines_missed_by_cells} by the cells' own clocks)",
        ),
        ("actions rejected", _by_reason(radio.rejected)),
        ("adaptation", _adaptation(outcome)),
        (
            "adapters",
            f"{adaptation.accepted} of {cells} kept, {adaptation.seconds:.1f} s for all together",
        ),
        (
            "imagined worth",
            f"{_number(adaptation.worth_before, 3)} before, {_number(adaptation.worth_after, 3)} after, "
            "in typical credits",
        ),
    ]
    rows += [(f"lost: {name}", cause) for name, cause in outcome.lost.items()]
    for row in rows:
        table.add_row(*row)
    return table


def advice(outcome: DemoOutcome) -> str | None:
    """Return what to do when so many deadlines were missed that the scores suffer, else None."""
    settings = outcome.settings
    share = outcome.deadline_missed / max(outcome.radio.slots * settings.cells, 1)
    if share <= BEARABLE_SHARE:
        return None
    text = (
        f"{100 * share:.1f} % of the deadlines were missed, and a late cell keeps its old action: "
        f"leave the machine alone, or try --slot-ms {2 * settings.slot_ms:g}"
    )
    if settings.broker.startswith("mqtt:"):
        text += "; mosquitto needs set_tcp_nodelay true, without it every slot loses up to 40 ms"
    return text


def _messages(messages: MessageCounts) -> str:
    share = messages.delivered_percent
    return (
        f"{messages.sent} sent, {messages.received} of {messages.expected} received"
        f"{'' if share is None else f' ({share:.2f} %)'}"
    )


def _used(messages: MessageCounts) -> str:
    if messages.in_time_percent is None:
        return "none"
    return (
        f"{messages.in_time_percent:.2f} % in the slot after they were sent, age p99 "
        f"{percentile_of_counts(messages.ages_slots, 0.99)} slots"
    )


def _processes(outcome: DemoOutcome) -> str:
    count = outcome.settings.process_count
    return "one process each" if count == outcome.settings.cells else f"sharing {count} processes"


def _adaptation(outcome: DemoOutcome) -> str:
    trained = f"of the policy, on the logs of {_number(outcome.adaptation.logs)} cells each"
    if outcome.adapted_acts:
        return trained
    return (
        f"{trained}; in mode {outcome.mode} it chooses no action, so that scores before and after "
        "differ by nothing but messages and answers that were late"
    )


def _answer(outcome: DemoOutcome) -> str:
    times = percentiles(outcome.radio.answer_ms)
    return f"p50 {_number(times['p50'])} ms, p99 {_number(times['p99'])} ms"


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "none"


def _number(value: float | None, digits: int = 1) -> str:
    return "?" if value is None else f"{value:.{digits}f}".removesuffix(".0")
