"""The adapter: restored, trained by a child process, adopted only if accepted."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.adaptation import save_adapter
from networld_runtime.adapter_keeper import AdapterKeeper
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config, load_config
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.experience import Experience

OUTCOME = {"accepted": True, "reason": "query loss fell", "windows": 9}


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
    return Bundle(tmp_path, "stub", "ab" * 32, contract, 4, 7, {}, 8, {}, {})


@pytest.fixture
def planner(contract: Contract) -> Any:
    return Adopter(contract)


@pytest.fixture
def keeper(config: Config, bundle: Bundle, planner: Any) -> AdapterKeeper:
    return AdapterKeeper(config, bundle, planner)


def _train(
    keeper: AdapterKeeper, contract: Contract, monkeypatch: pytest.MonkeyPatch, code: str
) -> dict[str, Any]:
    """Run `code` as the child and return the report that follows."""
    monkeypatch.setattr(keeper, "_command", lambda: [sys.executable, "-c", code])
    assert keeper.begin(Experience(contract, 2, 10), "7") is None
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
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = config.state.directory
    prepared = folder / "prepared"
    save_adapter(prepared, np.arange(7, dtype=np.float32), bundle)
    code = (
        f"import os; os.rename({str(prepared)!r}, {str(folder / 'candidate.safetensors')!r});"
        f"print({json.dumps(OUTCOME)!r})"
    )
    report = _train(keeper, contract, monkeypatch, code)
    assert report == {"report": "adapt", "id": "7", "ok": True, "outcome": OUTCOME}
    assert keeper.adapted
    np.testing.assert_array_equal(planner.adopted, np.arange(7))
    assert {file.name for file in folder.iterdir()} == {
        "adapter.safetensors",
        "experience.safetensors",
    }

    planner.adopted = None
    again = AdapterKeeper(config, bundle, planner)
    again.restore()
    np.testing.assert_array_equal(planner.adopted, np.arange(7))
    again.drop()
    assert not planner.adopted.any()
    assert not again.adapted
    assert not (folder / "adapter.safetensors").exists()


def test_rejected_adapter_changes_nothing(
    keeper: AdapterKeeper, planner: Any, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = {**OUTCOME, "accepted": False}
    report = _train(keeper, contract, monkeypatch, f"print({json.dumps(outcome)!r})")
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
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    problem: str,
) -> None:
    report = _train(keeper, contract, monkeypatch, code)
    assert not report["ok"]
    assert problem in report["problem"]
    assert planner.adopted is None


def test_damaged_adapter_is_left_aside(keeper: AdapterKeeper, config: Config, planner: Any) -> None:
    (config.state.directory / "adapter.safetensors").write_bytes(b"damaged")
    keeper.restore()
    assert planner.adopted is None


def test_only_one_training_at_a_time_and_stop_ends_it(
    keeper: AdapterKeeper, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import time; time.sleep(60)"
    monkeypatch.setattr(keeper, "_command", lambda: [sys.executable, "-c", code])
    experience = Experience(contract, 2, 10)
    assert keeper.begin(experience, None) is None
    problem = keeper.begin(experience, None)
    assert problem is not None
    assert "running already" in problem
    assert keeper.poll() is None
    begin = time.monotonic()
    keeper.stop()
    assert time.monotonic() - begin < 1


def test_going_back_to_the_base_ends_a_running_training(
    keeper: AdapterKeeper, contract: Contract, planner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import time; time.sleep(60)"
    monkeypatch.setattr(keeper, "_command", lambda: [sys.executable, "-c", code])
    assert keeper.begin(Experience(contract, 2, 10), None) is None
    assert keeper.drop() is None
    assert keeper.poll() is None
    assert not planner.adopted.any()
    assert keeper.begin(Experience(contract, 2, 10), None) is None
    keeper.stop()
