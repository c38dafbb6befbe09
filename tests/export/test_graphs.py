"""Exported graphs against torch, the gradient graph against `torch.func.grad`, and refusal."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from networld_export import bundle_writer, onnx_export
from networld_export.bundle_writer import ExportSettings, write_bundle
from networld_export.graphs import GraphSource, graph_sources
from networld_runtime.bundle import (
    DISTILLED_GRAPHS,
    FP16,
    FUSED_STEPS,
    GRAPHS,
    HALF_GRAPHS,
    INT8,
    QUANTISED_GRAPHS,
    Bundle,
    load_bundle,
)
from networld_runtime.errors import BundleError
from networld_runtime.levels import LEVEL_FEATURES, level_features
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import DENOISERS, MODES, PlannerSettings
from networld_runtime.sessions import Session
from networld_runtime.ways import _Stepwise
from networld_training.distillation.student import PlanShape, Student
from networld_training.model import layers
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.credit import Situation
from networld_training.model.imagination import Imagined, imagined_loss, masked_logits
from networld_training.model.judges import checkpoint_judge, make_judge
from networld_training.model.mean_field import mean_field
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import TaskModel, WorldModel
from networld_training.tasks.power.contract import POWER_CONTRACT
from networld_training.tasks.registry import CONTRACTS, LEARNING

CANDIDATES, BATCH = 3, 4
FLOAT_GRAPHS = (*GRAPHS, *QUANTISED_GRAPHS)
ALL_GRAPHS = (*GRAPHS, *DISTILLED_GRAPHS, *HALF_GRAPHS)
TEMPERATURE = PRESETS["tiny"].temperature
SETTINGS = ExportSettings(
    "test", PlannerSettings(candidates=CANDIDATES), adaptation_batch=BATCH, half=True
)
SIZE, FIELD_SIZE = POWER_CONTRACT.latent_size, POWER_CONTRACT.mean_field_size


def random_model(task: str = "power", seed: int = 0) -> WorldModel:
    """Return a small model whose every weight is random, zero-initialised layers included."""
    torch.manual_seed(seed)
    model = WorldModel({task: CONTRACTS[task]}, PRESETS["tiny"].size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def random_judge(task: str) -> Imagined:
    torch.manual_seed(1)
    judge = make_judge(task, CONTRACTS[task], PRESETS["tiny"].credit)
    judge.credit.scale.fill_(2.0)
    return judge


def checkpoint_of(model: WorldModel) -> Checkpoint:
    tensors = {f"average.{name}": value for name, value in model.state_dict().items()}
    for task in model.contracts:
        credit = random_judge(task).credit.state_dict()
        tensors |= {f"credit.{task}.{name}": value for name, value in credit.items()}
    return Checkpoint(1, 0, PRESETS["tiny"], model.contracts, tensors)


def random_student(tasks: tuple[str, ...] = ("power",)) -> Student:
    torch.manual_seed(2)
    return Student(tasks, PlanShape.of(POWER_CONTRACT), hidden=32).eval()


@pytest.fixture(scope="module")
def task_model() -> TaskModel:
    return random_model().for_task("power").eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the random model."""
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    checkpoint = checkpoint_of(random_model())
    errors = write_bundle(checkpoint, folder, SETTINGS, print, random_student())
    assert errors.keys() == {f"power/{graph}" for graph in ALL_GRAPHS}
    assert max(errors[f"power/{graph}"] for graph in FLOAT_GRAPHS) <= 1e-4
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder, "power")


@pytest.fixture(scope="module")
def exported(task_model: TaskModel, bundle: Bundle) -> dict[str, tuple[GraphSource, Path]]:
    judge = checkpoint_judge(checkpoint_of(random_model()), "power")
    sources = graph_sources(task_model, judge, TEMPERATURE, CANDIDATES, BATCH, random_student())
    return {source.name: (source, bundle.graphs[source.name]) for source in sources}


@pytest.mark.parametrize("name", FLOAT_GRAPHS)
def test_graph_equals_torch(exported: dict[str, tuple[GraphSource, Path]], name: str) -> None:
    source, path = exported[name]
    assert max(onnx_export.parity(source, path, samples=64)) <= 1e-4


@pytest.fixture(scope="module", params=CONTRACTS)
def gradient(
    request: pytest.FixtureRequest, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, GraphSource, Path]:
    """The gradient graph of every kind of task: a number, a choice, states that last."""
    task = request.param
    checkpoint = checkpoint_of(random_model(task))
    model = checkpoint.averaged_model().for_task(task)
    judge = checkpoint_judge(checkpoint, task)
    source = graph_sources(model, judge, TEMPERATURE, CANDIDATES, BATCH, None)[-1]
    if task == "power":
        return task, source, bundle.graphs["gradient"]
    path = tmp_path_factory.mktemp("gradient") / "gradient.onnx"
    onnx_export.export_graph(source, path)
    return task, source, path


def test_gradient_graph_equals_torch(gradient: tuple[str, GraphSource, Path]) -> None:
    _, source, path = gradient
    assert max(onnx_export.parity(source, path, samples=16)) <= 1e-4


def test_gradient_graph_is_autograd_through_what_the_policy_is_trained_by(
    gradient: tuple[str, GraphSource, Path],
) -> None:
    """Of a network of seven, each everybody's neighbour; padded slots count for nothing."""
    task, source, path = gradient
    contract = CONTRACTS[task]
    model = random_model(task).for_task(task)
    imagined = random_judge(task)
    neighbours = (torch.arange(7)[:, None] + torch.arange(1, 7)) % 7
    session = Session(path, source.inputs, source.outputs)
    for seed in range(3):
        inputs = dict(zip(source.inputs, source.example(seed), strict=True))
        inputs["in_around"] = torch.nn.functional.one_hot(neighbours, 7).float()
        inputs["in_weight"] = torch.tensor([1.0, 1.0, 0.0, 0.0])[:, None].repeat(1, 7)
        loss, worth, slope = session.run(**{name: one.numpy() for name, one in inputs.items()})

        rows = {name: value[:2] for name, value in inputs.items()}
        given = Situation(rows["in_observation"], rows["in_coupling"], neighbours)
        told = model.encode(rows["in_before"])[..., : contract.message_size]
        adapter = inputs["in_adapter"].clone().requires_grad_()
        heard = told[:, neighbours].mean(dim=2)
        rounded = mean_field(told, neighbours)  # as base stations do: no more than half a step away
        assert (rounded[..., :-1] - heard).abs().max() <= 0.51 / 127
        field = torch.cat([heard, rounded[..., -1:]], dim=-1)
        asked = model.policy(model.encode(rows["in_observation"]), field, adapter)
        logits = masked_logits(asked, rows["in_mask"])
        weighed = rows["in_asked"]
        expected = imagined_loss(imagined, given, logits, TEMPERATURE, rows["in_uniform"], weighed)
        expected.backward()  # type: ignore[no-untyped-call]
        assert adapter.grad is not None
        wanted = adapter.grad.numpy()
        assert float(loss[0]) == pytest.approx(expected.item(), rel=1e-4)
        assert np.linalg.norm(slope - wanted) / np.linalg.norm(wanted) <= 1e-4
        assert slope.any()
        np.testing.assert_allclose(
            worth[:2], imagined.worth(given, logits).detach().numpy(), rtol=1e-3, atol=1e-4
        )


def test_guidance_moves_plans_towards_higher_returns(task_model: TaskModel) -> None:
    torch.manual_seed(0)
    plan = 0.5 * torch.randn(16, POWER_CONTRACT.horizon, SIZE)
    latent, field = torch.rand(16, SIZE), torch.rand(16, FIELD_SIZE)
    level = torch.full((16,), 0.5)

    def mean_return(scale: float) -> float:
        guided = task_model.guided(plan, level, latent, field, torch.full((16,), scale))
        return task_model.expected_return(guided, latent, field).mean().item()

    assert mean_return(0.2) > mean_return(0.0)


def test_zero_adapter_is_the_base_model_and_another_is_not(task_model: TaskModel) -> None:
    torch.manual_seed(0)
    latent, field = torch.rand(4, SIZE), torch.rand(4, FIELD_SIZE)
    base = task_model.act(latent, field)
    zero = torch.zeros(task_model.adapter_size)
    assert torch.equal(base, task_model.act(latent, field, zero))
    assert not torch.equal(base, task_model.act(latent, field, zero + 0.1))


def test_a_fused_plan_is_what_steps_and_head_make_of_it(bundle: Bundle) -> None:
    random = np.random.default_rng(0)
    latent, field = (random.uniform(-1, 1, size).astype(np.float32) for size in (SIZE, FIELD_SIZE))
    for steps in FUSED_STEPS:
        settings = PlannerSettings(denoiser="distilled", steps=steps, candidates=5)
        fused, stepwise = (Planner(bundle, settings, seed=3) for _ in range(2))
        stepwise._way = _Stepwise(bundle, settings, "distilled", 5)
        one, other = (planner.plan(latent, field) for planner in (fused, stepwise))
        assert one.plan is not None
        assert other.plan is not None
        np.testing.assert_allclose(one.plan.latents, other.plan.latents, atol=1e-5)
        np.testing.assert_allclose(one.action, other.action, rtol=1e-4)
        assert one.plan.expected_return == pytest.approx(other.plan.expected_return, rel=1e-4)


@pytest.mark.parametrize("name", QUANTISED_GRAPHS)
def test_int8_graphs_are_small_and_nearly_the_same(
    exported: dict[str, tuple[GraphSource, Path]], bundle: Bundle, name: str
) -> None:
    source, path = exported[name]
    twin = bundle.graphs[name + INT8]
    weights = {tensor.data_type for tensor in onnx.load(twin).graph.initializer if tensor.dims}
    assert onnx.TensorProto.INT8 in weights
    # what is made once for all plans stays as it is: the situation's and the levels' part of the first layers
    floats = [one for one in onnx.load(twin).graph.initializer if len(one.dims) == 2]
    kept = {one.name for one in floats if one.data_type == onnx.TensorProto.FLOAT}
    assert name == "distilled" or any(
        FIELD_SIZE + SIZE in one.dims for one in floats if one.name in kept
    )
    assert bundle.work[name + INT8].weight_bytes < 0.5 * bundle.work[name].weight_bytes
    errors = onnx_export.parity(source, twin, 9, onnx_export.typical)
    assert 1e-4 < np.quantile(errors, 0.25) < 0.05  # rounded
    assert twin.stat().st_size < path.stat().st_size


def test_work_is_that_of_the_networks(bundle: Bundle) -> None:
    """By hand: a plan's layer has inputs times outputs products, each a multiplication and an addition."""
    entries, hidden = POWER_CONTRACT.horizon * SIZE, 32
    step = 2 * (entries * hidden + hidden * hidden + hidden * entries)
    works = [bundle.work[f"plan_{steps}"] for steps in FUSED_STEPS]
    assert bundle.work["distilled"].plan_operations == step
    assert works[1].plan_operations - works[0].plan_operations == step
    assert works[2].plan_operations - works[1].plan_operations == 2 * step
    chained = 2 * hidden * SIZE  # columns for the latent that a plan begins with
    assert works[0].plan_operations == step + chained + bundle.work["head"].plan_operations
    level = 2 * (LEVEL_FEATURES + 1) * hidden
    given = 2 * (SIZE + FIELD_SIZE) * hidden + bundle.work["head"].fixed_operations
    assert [work.fixed_operations for work in works] == [
        given + steps * level for steps in FUSED_STEPS
    ]
    assert bundle.work["policy"].plan_operations == 0
    sizes = PRESETS["tiny"].size
    situation = SIZE - sizes.trace
    layers = ((situation + FIELD_SIZE, sizes.hidden), (sizes.hidden, sizes.hidden))
    expected = sum(2 * (before * after) for before, after in layers)
    assert bundle.work["policy"].fixed_operations > expected
    for name in QUANTISED_GRAPHS:
        assert bundle.work[name + INT8].operations(3) == bundle.work[name].operations(3)


def test_a_level_has_the_features_in_a_graph_that_it_was_trained_with() -> None:
    levels = [0.02, 0.3, 0.98]
    trained = layers.level_features(torch.tensor(levels), LEVEL_FEATURES).numpy()
    np.testing.assert_allclose(level_features(levels), trained, atol=1e-4)


def test_a_bundle_recommends_what_its_tasks_want(folder: Path) -> None:
    learning = LEARNING["power"]
    bundle = load_bundle(folder, "power")
    assert bundle.planner["temperature"] == learning.plan_temperature
    assert bundle.adaptation == {
        "steps": learning.adaptation_steps,
        "learning_rate": learning.adaptation_rate,
    }
    cool = replace(SETTINGS, temperature=0.25)
    assert cool.planner_in("power") == replace(SETTINGS.planner, temperature=0.25)


def test_graphs_of_fp16_plan_nearly_the_same(bundle: Bundle) -> None:
    """A processor can run them, if slowly; what they were made for is a GPU."""
    for name in QUANTISED_GRAPHS:
        weights = onnx.load(bundle.graphs[name + FP16]).graph.initializer
        assert onnx.TensorProto.FLOAT16 in {one.data_type for one in weights if one.dims}
        assert bundle.work[name + FP16].weight_bytes < 0.6 * bundle.work[name].weight_bytes
    latent, field = np.full(SIZE, 0.2, np.float32), np.full(FIELD_SIZE, 0.1, np.float32)
    for steps in (2, 3):  # one graph, and a graph run for each step
        asked = PlannerSettings(denoiser="distilled", steps=steps, candidates=5)
        plans = []
        for settings in (asked, replace(asked, denoiser="distilled-fp16")):
            plan = Planner(bundle, settings).plan(latent, field).plan
            assert plan is not None
            plans.append(plan.latents)
        np.testing.assert_allclose(plans[0], plans[1], atol=0.02)
        assert np.any(plans[0] != plans[1])


def test_graphs_of_fp16_are_there_where_they_were_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    settings = replace(SETTINGS, half=False)
    write_bundle(checkpoint_of(random_model()), folder, settings, print, random_student())
    bundle = load_bundle(folder, "power")
    assert set(bundle.graphs) == {*GRAPHS, *DISTILLED_GRAPHS}
    with pytest.raises(BundleError, match="`--half`"):
        Planner(bundle, PlannerSettings(denoiser="distilled-fp16"))


@pytest.mark.parametrize(
    ("bounds", "graph"),
    [
        ({"int8_bound": 1e-6}, "distilled_int8"),
        ({"fp16_bound": 1e-6, "half": True}, "distilled_fp16"),
    ],
)
def test_a_graph_of_fewer_bytes_beyond_its_bound_is_refused(
    tmp_path: Path, bounds: dict[str, Any], graph: str
) -> None:
    settings = replace(SETTINGS, **bounds)
    with pytest.raises(BundleError, match=f"graph {graph}: relative error"):
        write_bundle(
            checkpoint_of(random_model()), tmp_path / "bundle", settings, print, random_student()
        )
    assert list(tmp_path.iterdir()) == []


def test_operators_are_standard_and_nothing_is_random(
    exported: dict[str, tuple[GraphSource, Path]],
) -> None:
    for _, path in exported.values():
        nodes = onnx.load(path).graph.node
        assert {node.domain for node in nodes} <= {"", "ai.onnx"}
        assert not {node.op_type for node in nodes} & {"RandomNormal", "RandomUniform", "Loop"}


@pytest.mark.parametrize("folder_of", ["exported", "shipped"])
def test_graphs_tell_nothing_of_the_computer_that_made_them(bundle: Bundle, folder_of: str) -> None:
    top = bundle.path if folder_of == "exported" else Path(__file__).parents[2] / "bundles"
    for path in top.rglob("*.onnx"):
        content = path.read_bytes()
        assert b"networld_export/" not in content, path
        assert b"stack_trace" not in content, path


@pytest.mark.parametrize("denoiser", DENOISERS)
@pytest.mark.parametrize("mode", MODES)
def test_bundle_decides_in_every_mode(bundle: Bundle, mode: str, denoiser: str) -> None:
    settings = replace(PlannerSettings.from_json(bundle.planner), mode=mode, denoiser=denoiser)
    planner = Planner(bundle, settings)
    latent = planner.encode(np.zeros(POWER_CONTRACT.observation_size, dtype=np.float32))
    field = np.zeros(POWER_CONTRACT.mean_field_size, dtype=np.float32)
    decision = planner.plan(latent, field)
    assert POWER_CONTRACT.allows(decision.action)
    assert (decision.plan is None) == (mode == "policy")


def test_graphs_of_other_shapes_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"in_plan.*expected \(5,"):
        replace(bundle, candidates=5).session("denoiser")


def test_a_graph_that_differs_from_torch_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = onnx_export.export_graph

    def sabotage(source: GraphSource, path: Path) -> None:
        export(source, path)
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size > 100:
                tensor.CopyFrom(onnx.numpy_helper.from_array(values * 1.01, tensor.name))
        onnx.save(model, path)

    monkeypatch.setattr(bundle_writer, "export_graph", sabotage)
    with pytest.raises(BundleError, match="relative error"):
        write_bundle(checkpoint_of(random_model()), tmp_path / "bundle", SETTINGS, print)
    assert list(tmp_path.iterdir()) == []


def test_a_second_export_replaces_the_first_and_is_identical(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    (copy / "power" / "head.onnx").write_bytes(b"old")
    (copy / "left-over").write_bytes(b"old")
    write_bundle(checkpoint_of(random_model()), copy, SETTINGS, print, random_student())
    first, second = (
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*.*")}
        for top in (folder, copy)
    )
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"precious")
    with pytest.raises(BundleError, match="is no bundle"):
        write_bundle(checkpoint_of(random_model()), tmp_path, SETTINGS, print)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
