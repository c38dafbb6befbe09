"""All metrics of a cell in one table, and how each is read from a status.

A metric whose source is not there gives no sample. Labels come from small sets: neighbours of the
configuration, reasons in the code; what is beyond `LABEL_VALUES` is summed up as `other`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

LABEL_VALUES = 32
LABEL_CHARACTERS = 80
OTHER = "other"

Status = Mapping[str, Any]
Read = Callable[["MetricRow", Status], Metric | None]


@dataclass(frozen=True)
class MetricRow:
    """One metric.

    Attributes:
        name: As Prometheus shows it; counters end with `_total`, information with `_info`.
        help: What it means, with its unit.
        read: Makes its samples of a status.
    """

    name: str
    help: str
    read: Read

    def shown_names(self) -> tuple[str, ...]:
        """Return the names that queries may use."""
        if self.name.endswith("_seconds") and self.read in _HISTOGRAMS:
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)


def _find(status: Status, path: str) -> Any:
    """Return what is at `counters.x.y`, None if nothing is; no path is the status itself."""
    found: Any = status
    for key in path.split(".") if path else ():
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _number(value: object) -> float | None:
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _samples(value: object, label: str | None) -> list[tuple[list[str], float]]:
    """Return label values and numbers of a number, or of a mapping from label values to numbers."""
    if label is None:
        number = _number(value)
        return [] if number is None else [([], number)]
    if not isinstance(value, Mapping):
        return []
    found = [(str(key)[:LABEL_CHARACTERS], _number(one)) for key, one in value.items()]
    samples = [([key], number) for key, number in found if number is not None]
    if len(samples) <= LABEL_VALUES:
        return samples
    rest = sum(number for _, number in samples[LABEL_VALUES - 1 :])
    return [*samples[: LABEL_VALUES - 1], ([OTHER], rest)]


def _counter(path: str, label: str | None = None) -> Read:
    """Read a count; with a label, one for each key of a mapping."""
    return lambda row, status: _family(CounterMetricFamily, row, _find(status, path), label)


def _gauge(path: str, label: str | None = None, scale: float = 1.0) -> Read:
    """Read a value that goes up and down; with a label, one for each key of a mapping."""

    def read(row: MetricRow, status: Status) -> Metric | None:
        value = _find(status, path)
        number = _number(value) if label is None else None
        return _family(GaugeMetricFamily, row, value if number is None else number * scale, label)

    return read


def _family(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    row: MetricRow,
    value: object,
    label: str | None,
) -> Metric | None:
    samples = _samples(value, label)
    family = kind(row.name, row.help, labels=[] if label is None else [label])
    for labels, number in samples:
        family.add_metric(labels, number)
    return family if samples else None


def _counters(label: str, *paths: tuple[str, str]) -> Read:
    """Read several counts as one metric; each path comes with its value of the label."""

    def read(row: MetricRow, status: Status) -> Metric | None:
        values = {value: _find(status, path) for value, path in paths}
        return _family(CounterMetricFamily, row, values, label)

    return read


def _by_neighbour(path: str, label: str) -> Read:
    """Read counts by reason of every neighbour, summed over the neighbours."""

    def read(row: MetricRow, status: Status) -> Metric | None:
        sums: dict[str, float] = {}
        by_name = _find(status, path)
        for reasons in by_name.values() if isinstance(by_name, Mapping) else ():
            for labels, number in _samples(reasons, label):
                sums[labels[0]] = sums.get(labels[0], 0.0) + number
        return _family(CounterMetricFamily, row, sums, label)

    return read


def _not_finite(row: MetricRow, status: Status) -> Metric | None:
    """Read how often a model or an observation was not finite, whatever the reason is called."""
    reasons = {
        **(_find(status, "counters.model_failures") or {}),
        **(_find(status, "counters.radio") or {}),
    }
    values = [value for name, value in reasons.items() if "finite" in str(name)]
    total = sum(number for value in values if (number := _number(value)) is not None)
    return _family(CounterMetricFamily, row, total, None)


def _histogram(path: str) -> Read:
    """Read a `Histogram.to_json`."""

    def read(row: MetricRow, status: Status) -> Metric | None:
        value = _find(status, path)
        if not isinstance(value, Mapping):
            return None
        bounds = [f"{bound:g}" for bound in value["bounds_s"]] + ["+Inf"]
        total, buckets = 0, []
        for bound, count in zip(bounds, value["counts"], strict=True):
            total += count
            buckets.append((bound, float(total)))
        family = HistogramMetricFamily(row.name, row.help)
        family.add_metric([], buckets, sum_value=value["sum_s"])
        return family

    _HISTOGRAMS.add(read)
    return read


def _info(path: str, *keys: str) -> Read:
    """Read texts as labels of a metric that is always 1."""

    def read(row: MetricRow, status: Status) -> Metric | None:
        found = _find(status, path)
        if not isinstance(found, Mapping):
            return None
        labels = {key: str(found[key])[:LABEL_CHARACTERS] for key in keys if key in found}
        family = InfoMetricFamily(row.name.removesuffix("_info"), row.help)
        family.add_metric([], labels)
        return family

    return read


_HISTOGRAMS: set[Read] = set()

# fmt: off
TABLE = (
    MetricRow("networld_cell_info", "Which cell this is.", _info("", "site", "cell")),
    MetricRow("networld_ready", "1 if the cell is ready.", _gauge("ready")),
    MetricRow("networld_live", "1 if the loop goes round.", _gauge("live")),
    MetricRow("networld_heartbeat_age_seconds", "Since the loop last went round.", _gauge("heartbeat_age_s")),
    MetricRow("networld_broker_connected", "1 if the broker is believed to be there.", _gauge("connected")),
    MetricRow("networld_broker_connections_total", "Connections to the broker.",
              _counter("counters.transport.connections")),
    MetricRow("networld_slots_total", "Slots gone through.", _counter("counters.slots")),
    MetricRow("networld_slots_skipped_total", "Slots for which no observation was used.",
              _counter("counters.slots_skipped")),
    MetricRow("networld_slots_without_peers_total", "Slots in which some neighbour was missing.",
              _counter("counters.slots_with_missing_neighbours")),
    MetricRow("networld_slot_length_seconds", "Length of a slot.", _gauge("slot_s")),
    MetricRow("networld_tick_seconds", "From an observation's arrival in the loop to its action.",
              _histogram("counters.tick_seconds")),
    MetricRow("networld_deadline_missed_total", "Actions decided after their deadline.",
              _counter("counters.deadlines_missed")),
    MetricRow("networld_tick_late_seconds", "How long after their deadline late actions were decided.",
              _histogram("counters.late_seconds")),
    MetricRow("networld_plans_cut_total", "Plans that were cut short to be in time.",
              _counter("counters.plans_cut")),
    MetricRow("networld_fallback_level", "Rung of the degradation ladder; 0 is the full plan.",
              _gauge("counters.ladder.level")),
    MetricRow("networld_fallback_info", "The rung where slots begin, and what brought them there.",
              _info("counters.ladder", "rung", "reason")),
    MetricRow("networld_rung_slots_total", "Slots by the rung that acted.",
              _counter("counters.ladder.slots", "rung")),
    MetricRow("networld_fallback_total", "Failures of the model, each of which a lower rung stood in for.",
              _counter("counters.model_failures", "reason")),
    MetricRow("networld_nonfinite_total", "Values of model or radio that were not finite.", _not_finite),
    MetricRow("networld_radio_total", "Observations, by what became of them.",
              _counter("counters.radio", "event")),
    MetricRow("networld_message_age_seconds", "Since the last good message of each neighbour.",
              _gauge("counters.message_ages_s", "peer")),
    MetricRow("networld_message_rate", "Good messages per second of each neighbour, over 5 s.",
              _gauge("counters.message_rates_per_s", "peer")),
    MetricRow("networld_message_valid_share", "Share of good ones among each neighbour's messages, over 5 s.",
              _gauge("counters.message_valid_shares", "peer")),
    MetricRow("networld_peer_alive", "1 for a neighbour with a message young enough to be used.",
              _gauge("counters.neighbours_alive", "peer")),
    MetricRow("networld_peers_alive", "Neighbours whose messages the last slot used.",
              _gauge("counters.neighbours_heard")),
    MetricRow("networld_messages_received_total", "Messages of neighbours that were accepted.",
              _counter("counters.messages_received")),
    MetricRow("networld_messages_rejected_total", "Messages of neighbours that were rejected, by reason.",
              _by_neighbour("counters.messages_rejected", "reason")),
    MetricRow("networld_births_rejected_total", "Births and states of cells that were not used, by reason.",
              _counter("counters.discovery_rejected", "reason")),
    MetricRow("networld_message_bytes_total", "Bytes of messages between cells.",
              _counters("dir", ("in", "counters.message_bytes_received"),
                        ("out", "counters.message_bytes_sent"))),
    MetricRow("networld_bundle_info", "The bundle in use.",
              _info("bundle", "name", "digest", "task", "version", "provider")),
    MetricRow("networld_software_info", "The software in use.",
              _info("versions", "networld", "python", "onnxruntime", "numpy")),
    MetricRow("networld_adapted", "1 if the cell acts by an adapter, 0 by the base model.",
              _gauge("counters.adapted")),
    MetricRow("networld_adapt_total", "Adaptations that have ended, by what became of them.",
              _counter("counters.adaptations", "outcome")),
    MetricRow("networld_adapt_seconds", "How long the last adaptation took.",
              _gauge("counters.last_adaptation.seconds")),
    MetricRow("networld_adapt_worth_before", "Worth of the base model in the last adaptation's query slots.",
              _gauge("counters.last_adaptation.worth_before")),
    MetricRow("networld_adapt_worth_after", "Worth of the new adapter in the same slots.",
              _gauge("counters.last_adaptation.worth_after")),
    MetricRow("networld_adapt_experience_slots", "Slots of experience that are kept.",
              _gauge("counters.experience_slots")),
    MetricRow("networld_log_lines_total", "Lines of the log, by what became of them.",
              _counter("log", "outcome")),
)
# fmt: on

PROCESS_METRICS = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""What `prometheus_client` tells of the process by itself."""


class _CellCollector(Collector):
    """Gives the table's metrics of one status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Return a family for every row that has a source."""
        return families(self._status)


def families(status: Status) -> Iterator[Metric]:
    """Yield the metrics of a status; a row whose source is of an unknown form is left out."""
    for row in TABLE:
        try:
            family = row.read(row, status)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        if family is not None:
            yield family


class Metrics:
    """Renders statuses as text; keeps a registry of its own for what the process tells."""

    def __init__(self) -> None:
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)

    def render(self, status: Status) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_CellCollector(status))
        return generate_latest(registry) + generate_latest(self._process)
