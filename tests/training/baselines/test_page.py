"""docs/baselines.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from networld_training.baselines.cloning import CloningSettings
from networld_training.baselines.diffuser import DiffuserSettings
from networld_training.baselines.implicit_q import settings_of as implicit_q_of
from networld_training.baselines.methods import METHODS
from networld_training.baselines.online_settings import settings_of as online_of
from networld_training.baselines.settings import discount_of

PAGE = Path(__file__).parents[3] / "docs" / "baselines.md"


def test_hyper_parameters_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text().split())
    bc, dd = CloningSettings(), DiffuserSettings()
    iql, iql_of_power = implicit_q_of("sched"), implicit_q_of("power")
    ippo, qmix = online_of("ippo", "other"), online_of("qmix", "other")
    rounds = {task: online_of("ippo", task).episodes for task in ("power", "sched", "sleep")}
    said = [
        f"The discount is {discount_of('power')} in `power`, {discount_of('sched')} in `sched`, "
        f"{discount_of('sleep')} in `sleep` and other tasks",
        f"batch {bc.batch}, {bc.steps:,} steps at most",
        f"perceptron {bc.width} x {bc.width}; the weights",
        f"every {bc.validate_every} steps; ends after {bc.patience} looks",
        f"expectile {iql.expectile}, inverse temperature {iql.inverse_temperature:g}, in `power` "
        f"{iql_of_power.inverse_temperature:g}, weights clipped at {iql.largest_weight:g}, "
        f"target share {iql.target_share}",
        f"plans of {dd.horizon} slots",
        f"inverse dynamics {dd.width} wide",
        f"{dd.denoising_steps} DDIM steps",
        f"{dd.dropout:.0%} of the samples without".replace("%", " %"),
        f"guidance {dd.guidance}, asked for {dd.target_return}, temperature {dd.temperature}; "
        f"averaged weights ({dd.average})",
        f"perceptrons {ippo.width} x {ippo.width} (tanh)",
        f"{rounds['power']} in `power`, {rounds['sched']} in `sched`, {rounds['sleep']} in `sleep`",
        f"{ippo.steps / 1e6:g} million environment steps",
        f"{ippo.epochs} epochs in batches of {ippo.minibatch} slots",
        f"lambda {ippo.trace}",
        f"{qmix.epochs} optimiser steps of {qmix.minibatch} slots",
    ]
    assert [text for text in said if text not in page] == []


def test_every_method_has_its_row() -> None:
    first, _, _ = PAGE.read_text().partition("## Train")
    for name, method in METHODS.items():
        (row,) = [line for line in first.splitlines() if line.startswith(f"| `{name}` |")]
        assert ("the simulator" in row) == method.online
        assert ("mean field" in row) == (method.information == "mean-field")
