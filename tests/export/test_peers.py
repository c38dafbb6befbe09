"""Planners in torch that a bundle is timed beside: as large as published, and they plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networld_export.bench import timing
from networld_export.bench.others import OTHERS, diffusion_veteran, mppi
from networld_export.bench.ours import distilled_plan, guided_plan
from networld_export.bench.peers import ACTION, Transformer, UNet, Value, size_of
from networld_export.bench.picture import pareto
from networld_runtime.bench.cases import Row
from networld_runtime.bundle import load_bundle
from networld_training import cli
from networld_training.tasks.registry import CONTRACTS

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"


@pytest.mark.parametrize(
    ("network", "published"),
    [
        (lambda: Transformer(256, 2), 2.62e6),
        (lambda: Transformer(320, 2), 4.07e6),
        (UNet, 3.96e6),
        (Value, 1.49e6),
    ],
    ids=["Diffusion Veteran", "Decision Diffuser", "Diffuser", "Diffuser's value"],
)
def test_networks_are_as_large_as_published(network: object, published: float) -> None:
    assert callable(network)
    assert size_of(network()) == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_others_choose_an_action(make: object) -> None:
    assert callable(make)
    torch.manual_seed(0)
    action = make()()
    assert action.shape == (ACTION,)
    assert torch.isfinite(action).all()


@pytest.mark.parametrize("task", CONTRACTS)
def test_ours_choose_an_action(task: str) -> None:
    contract = CONTRACTS[task]
    for plan in (distilled_plan(contract, 2, 3, compiled=False), guided_plan(contract, 2, 3)):
        probabilities = plan().flatten()
        assert probabilities.shape == (contract.action_size,)
        assert probabilities.sum().item() == pytest.approx(len(contract.actions), rel=1e-4)


def test_all_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)  # needs a C++ compiler, and long
    monkeypatch.setattr(timing, "BUDGET_S", {True: 0.0})
    monkeypatch.setattr(timing, "OTHERS", {"veteran": diffusion_veteran, "mppi": mppi})
    threads = torch.get_num_threads()
    found = timing.time_peers([load_bundle(SHIPPED, "power")], quick=True)
    assert list(found)[-2:] == ["veteran", "mppi"]
    assert len(found) == 2 * 2 + 1 + 2
    assert min(found.values()) > 0
    assert torch.get_num_threads() == threads


def test_the_front_is_what_nothing_faster_equals() -> None:
    rows = [
        Row(
            "power", "fused", "distilled", 1, 8, "cpu", 1, 0.0, "idle", p50_ms, 1.0, 1.0, score, 0.5
        )
        for p50_ms, score in ((3.0, 95.0), (1.0, 90.0), (2.0, 89.0), (4.0, None), (5.0, 96.0))
    ]
    assert [row.p50_ms for row in pareto(rows)] == [1.0, 3.0, 5.0]


@pytest.mark.slow
def test_the_command_writes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "OTHERS", {"mppi": mppi})
    monkeypatch.setattr(torch, "compile", lambda module: module)
    files = {name: tmp_path / f"bench.{name}" for name in ("json", "csv", "png", "html")}
    command = ["bench", "--bundle", str(SHIPPED), "--task", "power", "--quick"]
    command += ["--output", str(files["html"]), "--json", str(files["json"])]
    assert cli.main([*command, "--csv", str(files["csv"]), "--picture", str(files["png"])]) == 0
    assert (
        files["csv"]
        .read_text()
        .startswith("task,form,variant,k,candidates,provider,threads,pace_ms,")
    )
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "mppi" in files["html"].read_text()
    assert "mppi" in files["json"].read_text()
