"""The adapter: restored, trained by a child process once the logs are there, adopted only if accepted."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_logs import COUPLINGS, log_of

from networld_runtime import adapter_keeper, cli
from networld_runtime.adaptation import save_adapter
from networld_runtime.adapter_history import KEPT
from networld_runtime.adapter_keeper import AdapterKeeper
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.episode_log import EpisodeLog, encode_log
from networld_runtime.log_book import LogBook
from networld_runtime.log_file import read_logs
from networld_runtime.regression import WINDOW

OUTCOME = {"accepted": True, "reason": "worth rose", "slots": 9}
SLEEP = "import time; time.sleep(60)"


@dataclass
class Adopter:
    """Takes the place of a planner: only `adopt` is asked of it."""

    contract: Contract
    adopted: FloatArray | None = None

    def adopt(self, adapter: FloatArray) -> None:
        self.adopted = adapter


@pytest.fixture
def config(config_file: Path) -> Config:
    config = load_config(config_file)
    config.state.directory.mkdir()
    return config


@pytest.fixture
def bundle(contract: Contract, tmp_path: Path) -> Bundle:
    return Bundle(tmp_path, "stub", "ab" * 32, contract, 4, 7, 8, COUPLINGS, {}, {})


@pytest.fixture
def planner(contract: Contract) -> Any:
    return Adopter(contract)


@pytest.fixture
def book(contract: Contract) -> LogBook:
    return LogBook(contract, COUPLINGS, ["b", "c"], 100)


@pytest.fixture
def keeper(config: Config, bundle: Bundle, planner: Any, book: LogBook) -> AdapterKeeper:
    return AdapterKeeper(config, bundle, planner, book)


@pytest.fixture
def logs(contract: Contract) -> list[EpisodeLog]:
    return [log_of(contract, ["b", "c"], [1, 2, 3], episode) for episode in (1, 2)]


def send(book: LogBook, contract: Contract, name: str, *episodes: int) -> None:
    for episode in episodes:
        log = log_of(contract, ["a", "c" if name == "b" else "b"], [1, 2, 3], episode)
        book.receive(name, encode_log(log, contract))


def run_child(monkeypatch: pytest.MonkeyPatch, keeper: AdapterKeeper, code: str) -> None:
    monkeypatch.setattr(keeper, "_command", lambda: [sys.executable, "-c", code])


def has_begun(keeper: AdapterKeeper) -> bool:
    return keeper._child is not None


def train(
    keeper: AdapterKeeper, logs: list[EpisodeLog], monkeypatch: pytest.MonkeyPatch, code: str
) -> dict[str, Any]:
    """Run `code` as the child, without waiting for logs, and return the report that follows."""
    run_child(monkeypatch, keeper, code)
    monkeypatch.setattr(keeper._book, "covers", lambda _: True)
    assert keeper.begin(logs, "7") is None
    deadline = time.monotonic() + 20
    while (report := keeper.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert keeper.poll() is None
    return report


def test_accepted_adapter_is_adopted_and_restored(
    keeper: AdapterKeeper,
    config: Config,
    bundle: Bundle,
    planner: Any,
    book: LogBook,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = config.state.directory
    prepared = folder / "prepared"
    save_adapter(prepared, np.arange(7, dtype=np.float32), bundle)
    code = (
        f"import os; os.rename({str(prepared)!r}, {str(folder / 'candidate.safetensors')!r});"
        f"print({json.dumps(OUTCOME)!r})"
    )
    report = train(keeper, logs, monkeypatch, code)
    assert report == {"report": "adapt", "id": "7", "ok": True, "outcome": OUTCOME}
    assert keeper.adapted
    np.testing.assert_array_equal(planner.adopted, np.arange(7))
    assert {file.name for file in folder.iterdir()} == {"adapter.safetensors", "logs.msgpack"}

    planner.adopted = None
    again = AdapterKeeper(config, bundle, planner, book)
    again.restore()
    np.testing.assert_array_equal(planner.adopted, np.arange(7))
    again.drop()
    assert not planner.adopted.any()
    assert not again.adapted
    assert not (folder / "adapter.safetensors").exists()


def test_rejected_adapter_changes_nothing(
    keeper: AdapterKeeper, planner: Any, logs: list[EpisodeLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = {**OUTCOME, "accepted": False}
    report = train(keeper, logs, monkeypatch, f"print({json.dumps(outcome)!r})")
    assert report["ok"]
    assert planner.adopted is None
    assert not keeper.adapted


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise SystemExit(6)", "exit code 6"),
        ("print('no json')", "Expecting value"),
        ("print('[]')", "indices"),
        (f"print({json.dumps(OUTCOME)!r})", "not an adapter"),
    ],
)
def test_failed_training_is_reported(
    keeper: AdapterKeeper,
    planner: Any,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    problem: str,
) -> None:
    report = train(keeper, logs, monkeypatch, code)
    assert not report["ok"]
    assert problem in report["problem"]
    assert planner.adopted is None


def test_training_begins_once_all_neighbours_have_sent_all_episodes(
    keeper: AdapterKeeper,
    config: Config,
    contract: Contract,
    book: LogBook,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_child(monkeypatch, keeper, SLEEP)
    send(book, contract, "b", 1, 2)
    assert keeper.begin(logs, None) is None
    for episode in (1, 2):
        assert keeper.poll() is None
        assert not has_begun(keeper)
        send(book, contract, "c", episode)
    assert keeper.poll() is None
    assert has_begun(keeper)
    gathered = read_logs(config.state.directory / "logs.msgpack", contract, COUPLINGS)
    episodes = {name: [log.episode for log in parts] for name, parts in gathered.items()}
    assert episodes == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
    keeper.stop()


def test_training_begins_with_what_is_there_when_time_is_up(
    keeper: AdapterKeeper,
    config: Config,
    contract: Contract,
    book: LogBook,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(adapter_keeper, "monotonic_s", lambda: now_s)
    run_child(monkeypatch, keeper, SLEEP)
    send(book, contract, "b", 2)
    assert keeper.begin(logs, None) is None
    now_s += config.adaptation.gather_s - 0.01
    keeper.poll()
    assert not has_begun(keeper)
    now_s += 0.02
    keeper.poll()
    assert has_begun(keeper)
    keeper.stop()
    gathered = read_logs(config.state.directory / "logs.msgpack", contract, COUPLINGS)
    assert {name: len(parts) for name, parts in gathered.items()} == {"a": 2, "b": 1, "c": 0}


def test_logs_that_cannot_be_written_are_reported(
    keeper: AdapterKeeper, config: Config, logs: list[EpisodeLog]
) -> None:
    config.state.directory.rmdir()
    keeper._book = LogBook(keeper._bundle.contract, COUPLINGS, [], 100)
    assert keeper.begin(logs, "7") is None
    report = keeper.poll()
    assert report is not None
    assert (report["id"], report["ok"]) == ("7", False)
    assert "cannot be written" in report["problem"]
    assert keeper.poll() is None


def test_what_stands_against_it_is_said(
    config: Config, bundle: Bundle, planner: Any, book: LogBook, logs: list[EpisodeLog]
) -> None:
    off = replace(config, adaptation=replace(config.adaptation, enabled=False))
    problems = [
        AdapterKeeper(off, bundle, planner, book).begin(logs, None),
        AdapterKeeper(config, bundle, planner, book).begin([], None),
    ]
    assert ["not enabled" in str(problems[0]), "nothing was collected" in str(problems[1])] == [
        True,
        True,
    ]


def test_damaged_adapter_is_left_aside(keeper: AdapterKeeper, config: Config, planner: Any) -> None:
    (config.state.directory / "adapter.safetensors").write_bytes(b"damaged")
    keeper.restore()
    assert planner.adopted is None


@pytest.mark.parametrize("gathered", [False, True])
def test_only_one_adaptation_at_a_time_and_stop_ends_it(
    keeper: AdapterKeeper,
    contract: Contract,
    book: LogBook,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
    gathered: bool,
) -> None:
    run_child(monkeypatch, keeper, SLEEP)
    if gathered:
        send(book, contract, "b", 1, 2)
        send(book, contract, "c", 1, 2)
    assert keeper.begin(logs, None) is None
    assert keeper.poll() is None
    assert has_begun(keeper) == gathered
    assert "running already" in str(keeper.begin(logs, None))
    begin = time.monotonic()
    keeper.stop()
    assert time.monotonic() - begin < 1
    assert keeper._order is None


@pytest.mark.parametrize("gathered", [False, True])
def test_going_back_to_the_base_ends_a_running_adaptation(
    keeper: AdapterKeeper,
    contract: Contract,
    book: LogBook,
    logs: list[EpisodeLog],
    planner: Any,
    monkeypatch: pytest.MonkeyPatch,
    gathered: bool,
) -> None:
    run_child(monkeypatch, keeper, SLEEP)
    if gathered:
        send(book, contract, "b", 1, 2)
        send(book, contract, "c", 1, 2)
    assert keeper.begin(logs, None) is None
    keeper.poll()
    assert keeper.drop() is None
    assert keeper.poll() is None
    assert not has_begun(keeper)
    assert not planner.adopted.any()
    assert keeper.begin(logs, None) is None
    keeper.stop()


def test_child_is_told_what_the_command_line_changed(
    config_file: Path, bundle: Bundle, planner: Any, book: LogBook
) -> None:
    changes = ("planner.seed=5", 'cell.neighbours=["b"]')
    keeper = AdapterKeeper(load_config(config_file, changes), bundle, planner, book)
    options = cli._parser().parse_args(keeper._command()[3:])
    child = load_config(options.config, options.changes)
    assert (child.planner.seed, child.cell.neighbours) == (5, ("b",))


def test_another_bundle_never_gets_the_adapter_of_the_one_before(
    keeper: AdapterKeeper, config: Config, bundle: Bundle, contract: Contract
) -> None:
    file = config.state.directory / "adapter.safetensors"
    save_adapter(file, np.ones(7, dtype=np.float32), bundle)
    keeper.restore()
    adapted = [keeper.adapted]
    others: Any = Adopter(contract)
    keeper.change_bundle(replace(bundle, digest="cd" * 32), others)
    adapted.append(keeper.adapted)
    assert not others.adopted.any()
    again: Any = Adopter(contract)
    keeper.change_bundle(bundle, again)
    adapted.append(keeper.adapted)
    assert adapted == [True, False, True]
    assert again.adopted is not None
    assert again.adopted.all()


def test_a_training_for_the_bundle_before_is_ended_and_said_so(
    keeper: AdapterKeeper,
    bundle: Bundle,
    contract: Contract,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_child(monkeypatch, keeper, SLEEP)
    monkeypatch.setattr(keeper._book, "covers", lambda _: True)
    assert keeper.begin(logs, "7") is None
    assert keeper.poll() is None
    child = keeper._child
    assert child is not None
    others: Any = Adopter(contract)
    keeper.change_bundle(replace(bundle, digest="cd" * 32), others)
    assert child.poll() is not None
    report = keeper.poll()
    assert report is not None
    assert (report["id"], report["ok"]) == ("7", False)
    assert "the bundle was changed meanwhile" in report["problem"]
    assert keeper.poll() is None
    assert not others.adopted.any()
    assert keeper.begin(logs, "8") is None


def accepted(bundle: Bundle, keeper: AdapterKeeper, value: float) -> str:
    """Return what a child does that trains an adapter of this value."""
    save_adapter(keeper._candidate_file, np.full(7, value, dtype=np.float32), bundle)
    kept = keeper._candidate_file.read_bytes()
    return (
        f"from pathlib import Path; Path({str(keeper._candidate_file)!r}).write_bytes({kept!r}); "
        f"print({json.dumps(OUTCOME)!r})"
    )


def test_going_back_leads_through_earlier_adapters_to_the_base(
    keeper: AdapterKeeper,
    config: Config,
    bundle: Bundle,
    planner: Any,
    book: LogBook,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in (1.0, 2.0, 3.0):
        assert train(keeper, logs, monkeypatch, accepted(bundle, keeper, value))["ok"]
    assert planner.adopted[0] == 3
    for value in (2.0, 1.0):
        assert keeper.revert() is None
        assert planner.adopted[0] == value
        again: Any = Adopter(planner.contract)
        AdapterKeeper(config, bundle, again, book).restore()
        assert again.adopted is not None
        assert again.adopted[0] == value
    assert keeper.revert() is None
    assert not planner.adopted.any()
    assert keeper.adapted is False
    assert keeper.revert() == "the base model acts already"
    assert list(config.state.directory.glob("**/*.safetensors")) == []


def test_only_a_few_earlier_adapters_are_kept_and_bad_ones_are_passed_over(
    keeper: AdapterKeeper,
    config: Config,
    bundle: Bundle,
    planner: Any,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in range(1, KEPT + 4):
        train(keeper, logs, monkeypatch, accepted(bundle, keeper, float(value)))
    files = sorted((config.state.directory / "adapters").iterdir())
    assert len(files) == KEPT
    files[-1].write_bytes(b"damaged")
    save_adapter(files[-2], np.ones(7, dtype=np.float32), replace(bundle, digest="cd" * 32))
    assert keeper.revert() is None
    assert planner.adopted[0] == KEPT  # the last was KEPT + 3, and the two before it are no good


def test_an_adapter_by_which_the_utility_falls_is_taken_back(
    keeper: AdapterKeeper,
    bundle: Bundle,
    planner: Any,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    for utility in random.normal(5, 1, WINDOW):
        keeper.saw(float(utility))
    keeper.saw(None)
    train(keeper, logs, monkeypatch, accepted(bundle, keeper, 1.0))
    assert keeper.adapted
    for utility in random.normal(3, 1, WINDOW):
        assert keeper.poll() is None
        keeper.saw(float(utility))
    assert keeper.poll() == {"report": "revert", "id": None, "ok": True}
    assert not planner.adopted.any()
    assert keeper.adapted is False


def test_a_disk_that_does_not_take_an_earlier_adapter_back(
    keeper: AdapterKeeper,
    bundle: Bundle,
    planner: Any,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(keeper, logs, monkeypatch, accepted(bundle, keeper, 1.0))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper._history, "go_back", full)
    problem = keeper.revert()
    assert problem is not None
    assert "No space left on device" in problem
    assert not planner.adopted.any()  # the cell acts by the base all the same


def test_a_planner_that_comes_back_acts_by_what_is_kept_and_not_by_what_it_had(
    keeper: AdapterKeeper, config: Config, bundle: Bundle, planner: Any, contract: Contract
) -> None:
    """The bundle is changed, adapters are dropped, and the bundle is taken back."""
    save_adapter(
        config.state.directory / "adapter.safetensors", np.ones(7, dtype=np.float32), bundle
    )
    keeper.restore()
    assert planner.adopted.all()
    other = replace(bundle, digest="cd" * 32)
    another: Any = Adopter(contract)
    keeper.change_bundle(other, another)
    assert keeper.drop() is None
    keeper.change_bundle(bundle, planner)
    assert not planner.adopted.any()
    assert keeper.adapted is False


def test_adapters_of_a_bundle_outlive_another_one(
    keeper: AdapterKeeper,
    bundle: Bundle,
    planner: Any,
    contract: Contract,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(keeper, logs, monkeypatch, accepted(bundle, keeper, 1.0))
    other = replace(bundle, digest="cd" * 32)
    another: Any = Adopter(contract)
    keeper.change_bundle(other, another)
    train(keeper, logs, monkeypatch, accepted(other, keeper, 2.0))
    assert another.adopted[0] == 2
    assert keeper.revert() is None  # of the other bundle there is no earlier one
    assert not another.adopted.any()
    keeper.change_bundle(bundle, planner)
    assert planner.adopted[0] == 1
    assert keeper.adapted


def test_an_adapter_that_cannot_be_saved_is_not_acted_by(
    keeper: AdapterKeeper,
    bundle: Bundle,
    planner: Any,
    logs: list[EpisodeLog],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper._history, "replace", full)
    report = train(keeper, logs, monkeypatch, accepted(bundle, keeper, 1.0))
    assert report["ok"] is False
    assert keeper.adapted is False
    assert planner.adopted is None
