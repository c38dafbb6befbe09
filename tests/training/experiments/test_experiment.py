"""An experiment from its file to its table: trained once, judged once, the same when asked again."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.bundle import graphs_digest
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.planner_settings import PlannerSettings
from networld_training import cli
from networld_training.evaluation import workers
from networld_training.evaluation.conditions import Conditions
from networld_training.experiments.judging import Judging
from networld_training.experiments.models import Workshop
from networld_training.experiments.plan import read_experiment
from networld_training.experiments.results_book import ResultsBook
from networld_training.tasks.power.network import PowerNetwork
from networld_training.tasks.power.task import PowerTask
from networld_training.tasks.registry import LEARNING

FILE = """
title = "What messages are worth"
scenarios = ["power/umi200"]
episodes = 4
training_seeds = [0, 1]

[model.all]
preset = "tiny"
steps = 2
credit_steps = 2
windows = 2
ranked = 1
tasks = ["power"]
size = { width = 16 }

[[variant]]
name = "all arrive"
model = "all"

[[variant]]
name = "deaf"
model = "all"
messages = { deaf = true }
"""


UMI200 = "networld/power/umi200-v0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of the power task."""
    folder = tmp_path_factory.mktemp("data")
    options = ["--task", "power", "--episodes", "18", "--shard-episodes", "2", "--slots", "20"]
    code = cli.main(["data", "make", *options, "--output", str(folder / "power-mixed")])
    assert code == 0
    return folder


@pytest.fixture
def power() -> PowerTask:
    """Two episodes with seven cells."""
    task = PowerTask(PowerNetwork(), [1, 2])
    task.reset()
    return task


def test_an_experiment_trains_judges_and_does_neither_twice(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "messages.toml"
    file.write_text(FILE)
    command = ["experiment", str(file), "--data", str(data), "--models", str(tmp_path / "models")]
    assert cli.main(command) == 0
    rows = list(csv.DictReader(file.with_suffix(".csv").open()))
    found = {row["policy"]: row for row in rows}
    assert {"random", "wmmse-pf", "ceiling", "all arrive", "deaf"} <= found.keys()
    # the episodes of both training seeds count
    assert {row["episodes"] for row in rows} == {"8"}
    assert found["all arrive"]["score_iqm"] != found["deaf"]["score_iqm"]
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    first = file.with_suffix(".csv").read_bytes()

    def refuse(*_: object) -> None:
        raise AssertionError("was judged again")

    monkeypatch.setattr(workers.Work, "run", refuse)
    models = tmp_path / "models"
    assert len(list(models.rglob("*.safetensors"))) == 2
    shutil.rmtree(models)  # results outlive their models
    assert cli.main(command) == 0
    assert file.with_suffix(".csv").read_bytes() == first
    assert not models.exists()
    assert cli.main([*command, "--training-seeds", "1"]) == 0
    assert {row["episodes"] for row in csv.DictReader(file.with_suffix(".csv").open())} == {"4"}
    assert json.loads(file.with_suffix(".json").read_text())["training_seeds"] == [0]
    # another way to train is another model
    file.write_text(FILE.replace("credit_steps = 2", "credit_steps = 1"))
    with pytest.raises(AssertionError, match="judged again"):
        cli.main(command)
    assert len(list(models.rglob("*.safetensors"))) == 2


def test_options_that_are_off_change_no_older_question(tmp_path: Path) -> None:
    """Else every result would be forgotten when planner settings get an option more."""
    file = tmp_path / "messages.toml"
    file.write_text(FILE)
    experiment = read_experiment(file)
    workshop = Workshop(experiment, tmp_path / "models", tmp_path)
    judging = Judging(experiment, workshop, tmp_path, ResultsBook(tmp_path / "results"))
    asked = {piece.note: piece.question["acting"] for piece in judging.missing if piece.made}
    arrive, deaf = (asked[f"{name} in {UMI200}, 4 episodes"] for name in ("all arrive", "deaf"))
    assert arrive["planner"]["mode"] == "policy"
    assert not arrive["planner"].keys() & {"anytime", "warm_start_level"}
    assert (arrive["messages"], deaf["messages"]) == ({}, {"deaf": True})


def test_a_learned_baseline_is_a_variant(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "baselines.toml"
    file.write_text(
        FILE.partition("[model.all]")[0].replace("[0, 1]", "[0]")
        + '[model]\n[[variant]]\nname = "copied"\nbaseline = "bc"\n'
    )
    command = ["experiment", str(file), "--baselines", str(tmp_path)]
    assert cli.main(command) == DataError.exit_code
    assert "power-bc-0.safetensors" in capsys.readouterr().err
    policy = tmp_path / "power-bc-0.safetensors"
    training = ["--task", "power", "--method", "bc", "--data", str(data / "power-mixed")]
    assert cli.main(["baseline", *training, "--steps", "1", "--output", str(policy)]) == 0
    assert cli.main(command) == 0
    rows = {row["policy"]: row for row in csv.DictReader(file.with_suffix(".csv").open())}
    assert float(rows["copied"]["score_iqm"]) < float(rows["wmmse-pf"]["score_iqm"])
    policy.unlink()
    assert cli.main(command) == 0


def test_a_bundle_is_a_model_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(__file__).parents[3] / "bundles" / "networld"
    file = tmp_path / "steps.toml"
    text = FILE.partition("[model.all]")[0].replace("[0, 1]", "[0]").replace("umi200", "umi100")
    text += f'[model.shipped]\ntasks = ["power"]\nbundle = "{shipped}"\n'
    variant = '[[variant]]\nname = "{}"\nmodel = "shipped"\nplanner = {{ {} }}\n'
    int8 = 'mode = "select", denoiser = "distilled-int8", steps = 1, candidates = 2'
    text += variant.format("policy", 'mode = "policy"') + variant.format("int8", int8)
    messages = "messages = { loss = 0.3, age_weight = 0.5, bits = 4 }\n"
    text += '[[variant]]\nname = "lost"\nmodel = "shipped"\n' + messages
    file.write_text(text)
    command = ["experiment", str(file), "--models", str(tmp_path / "models")]
    assert cli.main(command) == 0
    found = json.loads(file.with_suffix(".json").read_text())
    assert found["bundles"] == {"shipped": graphs_digest(shipped)}
    scores = {row["policy"]: row["score"]["iqm"] for row in found["rows"]}
    assert len({scores["policy"], scores["int8"], scores["lost"]}) == 3
    assert not (tmp_path / "models").exists()
    monkeypatch.setattr(workers.Work, "run", None)  # nothing is judged twice
    assert cli.main(command) == 0
    file.write_text(text + "adaptation = { episodes = 1 }\n")
    with pytest.raises(ConfigError, match="a bundle acts without adaptation"):
        read_experiment(file)


def test_what_plans_by_a_distilled_denoiser_is_distilled(tmp_path: Path) -> None:
    file, asked = tmp_path / "steps.toml", []
    planning = 'planner = { mode = "select", denoiser = "distilled" }\n'
    file.write_text(FILE + f'\n[[variant]]\nname = "quick"\nmodel = "all"\n{planning}')
    workshop = Workshop(read_experiment(file), tmp_path / "models", tmp_path / "data")
    workshop.distil([("all", 0), ("all", 1)], lambda *paths: asked.append(paths))
    data = [tmp_path / "data" / "power-mixed"]
    assert asked == [(workshop.checkpoint("all", seed), data) for seed in (0, 1)]
    asked.clear()
    file.write_text(FILE)
    workshop = Workshop(read_experiment(file), tmp_path / "models", tmp_path / "data")
    workshop.distil([("all", 0)], lambda *paths: asked.append(paths))
    assert asked == []


def test_what_adapts_is_exported_where_no_bundle_is_newer(tmp_path: Path) -> None:
    file, asked = tmp_path / "adaptation.toml", []
    adapting = '[[variant]]\nname = "adapted"\nmodel = "all"\nadaptation = { episodes = 2 }\n'
    file.write_text(FILE + "\n" + adapting)
    workshop = Workshop(read_experiment(file), tmp_path / "models", tmp_path)
    for seed in (0, 1):
        path = workshop.checkpoint("all", seed)
        path.parent.mkdir(parents=True)
        path.touch()
    workshop.checkpoint("all", 0).with_name("bundle").mkdir()
    workshop.export([("all", 0), ("all", 1)], lambda *paths: asked.append(paths))
    assert asked == [(path, path.with_name("bundle"))]
    asked.clear()
    file.write_text(FILE + "\n" + adapting.replace("2 }", "2, whole = true }"))
    Workshop(read_experiment(file), tmp_path / "models", tmp_path).export(
        [("all", 1)], lambda *paths: asked.append(paths)
    )
    assert asked == []


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        FILE.replace("power/umi200", "power/nowhere")
        .replace("episodes = 4", "episodes = 0")
        .replace("deaf = true", "loss = 2.0, bits = 5, age_weight = 0")
        .replace("steps = 2\ncredit", "steps = 0\ncredit")
    )
    with pytest.raises(ConfigError) as caught:
        read_experiment(file)
    told = "\n".join(caught.value.problems)
    for part in (
        "nowhere",
        "episodes = 0",
        "loss = 2.0",
        "bits = 5",
        "age_weight = 0:",
        "steps = 0",
    ):
        assert part in told, part


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (("title", "tittle"), "tittle: unknown"),
        (('model = "all"\n\n[[v', 'model = "none"\n\n[[v'), "'none' is none of all"),
        (('name = "deaf"', 'name = "all arrive"'), "named twice"),
        (("width", "wideness"), "wideness"),
        (('["power"]', '["chess"]'), "chess"),
        (("title =", "title"), "no TOML"),
        (("messages = { deaf = true }", "adaptation = { episodes = -1 }"), "episodes = -1"),
        (("deaf = true }", "deaf = true }\nadaptation = { episodes = 2 }"), "not together"),
        (('tasks = ["power"]', 'tasks = ["power"]\nepisodes = 0'), "episodes = 0"),
    ],
)
def test_a_wrong_file_is_refused(change: tuple[str, str], part: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(FILE.replace(*change))
    with pytest.raises(ConfigError) as caught:
        read_experiment(file)
    assert part in caught.value.render()


def test_our_own_files_are_well_formed() -> None:
    files = sorted((Path(__file__).parents[3] / "benchmarks" / "experiments").glob("*.toml"))
    assert len(files) >= 7
    for file in files:
        assert file.read_text().startswith(
            f"# networld experiment benchmarks/experiments/{file.name}\n"
        )
        assert read_experiment(file).variants


def test_a_model_may_learn_from_fewer_episodes(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "episodes.toml"
    few = '[model.few]\npreset = "tiny"\nsteps = 2\ncredit_steps = 2\ntasks = ["power"]\nepisodes = 3\n'
    text = FILE.replace("[0, 1]", "[0]") + few + '[[variant]]\nname = "few"\nmodel = "few"\n'
    file.write_text(text)
    workshop = Workshop(read_experiment(file), tmp_path / "models", data)
    workshop.train([("all", 0), ("few", 0)])
    assert len(workshop._sampler("power", 3).actions) == 3
    assert len(workshop._sampler("power", None).actions) == 18
    file.write_text(text.replace("episodes = 3", "episodes = 19"))
    with pytest.raises(DataError, match="has 18 episodes, so not 19"):
        Workshop(read_experiment(file), tmp_path / "more", data).train([("few", 0)])


def test_plans_start_as_hot_as_the_task_wants_unless_a_variant_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = {"power": replace(LEARNING["power"], plan_temperature=1.4)}
    monkeypatch.setattr("networld_training.tasks.registry.LEARNING", warm)
    plans = '{ mode = "select"%s }'
    path = tmp_path / "hot.toml"
    text = FILE
    for name, more in (("own", ""), ("said", ", temperature = 0.5")):
        text += f'\n[[variant]]\nname = "{name}"\nmodel = "all"\nplanner = {plans % more}\n'
    path.write_text(text)
    found = {one.name: one.planner_in("power") for one in read_experiment(path).variants}
    assert (found["own"].temperature, found["said"].temperature) == (1.4, 0.5)
    assert found["all arrive"] == PlannerSettings(mode="policy")
    path.write_text(
        FILE.replace(
            'model = "all"\n\n[[variant]]', 'model = "all"\ntemperature = 1\n\n[[variant]]'
        )
    )
    with pytest.raises(ConfigError, match="unknown keys temperature"):
        read_experiment(path)


def test_messages_are_lost_as_often_as_said(power: PowerTask) -> None:
    heard = [Conditions(loss=0.3).heard(power) for _ in range(400)]
    share = np.mean([one for one in heard if one is not None])
    assert 0.68 < share < 0.72


def test_a_silent_cell_is_heard_by_nobody(power: PowerTask) -> None:
    heard = Conditions(silent=1).heard(power)
    assert heard is not None
    assert (heard[:, power.neighbours == 0] == 0).all()
    assert (heard[:, power.neighbours != 0] == 1).all()


def test_nothing_goes_wrong_unless_asked(power: PowerTask) -> None:
    assert Conditions().heard(power) is None
    deaf = Conditions(deaf=True).heard(power)
    assert deaf is not None
    assert (deaf == 0).all()
