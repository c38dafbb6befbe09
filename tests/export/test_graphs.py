"""Exported graphs against torch, the gradient graph against `torch.func.grad`, and refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from networld_export import bundle_writer, onnx_export
from networld_export.bundle_writer import ExportSettings, write_bundle
from networld_export.graphs import GraphSource, graph_sources
from networld_runtime.bundle import load_bundle
from networld_runtime.errors import BundleError
from networld_runtime.planner import Planner, PlannerSettings
from networld_runtime.sessions import Session
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.losses import Batch, losses
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import TaskModel, WorldModel
from networld_training.tasks.power.contract import POWER_CONTRACT

CANDIDATES, BATCH = 3, 4


def random_model(seed: int = 0) -> WorldModel:
    """Return a small model whose every weight is random, zero-initialised layers included."""
    torch.manual_seed(seed)
    model = WorldModel({"power": POWER_CONTRACT}, PRESETS["tiny"].size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def checkpoint_of(model: WorldModel) -> Checkpoint:
    tensors = {f"average.{name}": value for name, value in model.state_dict().items()}
    return Checkpoint(1, 0, PRESETS["tiny"], {"power": POWER_CONTRACT}, tensors)


@pytest.fixture(scope="module")
def task_model() -> TaskModel:
    return random_model().for_task("power").eval()


@pytest.fixture(scope="module")
def exported(
    task_model: TaskModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[GraphSource, Path]]:
    folder = tmp_path_factory.mktemp("graphs")
    graphs = {}
    for source in graph_sources(task_model, CANDIDATES, BATCH):
        path = folder / f"{source.name}.onnx"
        onnx_export.export_graph(source, path)
        graphs[source.name] = (source, path)
    return graphs


@pytest.mark.parametrize("name", ["encoder", "denoiser", "head", "gradient"])
def test_graph_equals_torch(exported: dict[str, tuple[GraphSource, Path]], name: str) -> None:
    source, path = exported[name]
    assert onnx_export.parity(source, path, samples=64) <= 1e-4


def test_gradient_graph_equals_torch_gradient_on_padded_batches(
    exported: dict[str, tuple[GraphSource, Path]], task_model: TaskModel
) -> None:
    source, path = exported["gradient"]
    session = Session(path, source.inputs, source.outputs)
    for seed in range(5):
        inputs = dict(zip(source.inputs, source.example(seed), strict=True))
        inputs["in_weight"] = torch.tensor([1.0, 1.0, 0.0, 0.0])
        loss, gradient = session.run(**{name: value.numpy() for name, value in inputs.items()})

        rows = {name: value[:2] for name, value in inputs.items() if name != "in_adapter"}
        batch = Batch(
            rows["in_latent"],
            rows["in_plan"],
            rows["in_mean_field"],
            rows["in_action"],
            rows["in_return"],
            rows["in_noise"],
            rows["in_level"],
            rows["in_weight"],
        )
        slope, value = torch.func.grad_and_value(
            lambda adapter, batch=batch: losses(task_model, batch, adapter).total()
        )(inputs["in_adapter"])
        expected = slope.detach().numpy()
        assert float(loss[0]) == pytest.approx(value.item(), rel=1e-4)
        error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
        assert error <= 1e-4


def test_guidance_moves_plans_towards_higher_returns(task_model: TaskModel) -> None:
    torch.manual_seed(0)
    plan = 0.5 * torch.randn(16, 7, 16)
    latent, field = torch.rand(16, 16), torch.rand(16, 17)
    level = torch.full((16,), 0.5)

    def mean_return(scale: float) -> float:
        guided = task_model.guided(plan, level, latent, field, torch.full((16,), scale))
        return task_model.expected_return(guided, latent, field).mean().item()

    assert mean_return(0.2) > mean_return(0.0)


def test_zero_adapter_is_the_base_model_and_another_is_not(task_model: TaskModel) -> None:
    torch.manual_seed(0)
    plan, latent, field = torch.randn(4, 7, 16), torch.rand(4, 16), torch.rand(4, 17)
    level = torch.full((4,), 0.5)
    base = task_model.denoise(plan, level, latent, field)
    zero = torch.zeros(task_model.adapter_size)
    assert torch.equal(base, task_model.denoise(plan, level, latent, field, zero))
    assert not torch.equal(base, task_model.denoise(plan, level, latent, field, zero + 0.1))


def test_operators_are_standard_and_nothing_is_random(
    exported: dict[str, tuple[GraphSource, Path]],
) -> None:
    for _, path in exported.values():
        nodes = onnx.load(path).graph.node
        assert {node.domain for node in nodes} <= {"", "ai.onnx"}
        assert not {node.op_type for node in nodes} & {"RandomNormal", "RandomUniform", "Loop"}


def test_bundle_is_written_loaded_and_plans(tmp_path: Path) -> None:
    settings = ExportSettings("test", PlannerSettings(steps=2, candidates=CANDIDATES))
    errors = write_bundle(checkpoint_of(random_model()), tmp_path / "bundle", settings, print)
    assert max(errors.values()) <= 1e-4
    bundle = load_bundle(tmp_path / "bundle", "power")
    planner = Planner(bundle)
    latent = planner.encode(np.zeros(POWER_CONTRACT.observation_size, dtype=np.float32))
    decision = planner.plan(latent, np.zeros(17, dtype=np.float32))
    assert decision.action == -40 or -30 <= decision.action <= 0


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
    settings = ExportSettings("test", PlannerSettings(candidates=CANDIDATES))
    with pytest.raises(BundleError, match="relative error"):
        write_bundle(checkpoint_of(random_model()), tmp_path / "bundle", settings, print)
    assert list(tmp_path.iterdir()) == []


def test_a_second_export_replaces_the_first_and_is_identical(tmp_path: Path) -> None:
    settings = ExportSettings("test", PlannerSettings(candidates=CANDIDATES))
    contents = []
    for _ in range(2):
        write_bundle(checkpoint_of(random_model()), tmp_path / "bundle", settings, print)
        contents.append(
            {path.name: path.read_bytes() for path in (tmp_path / "bundle").rglob("*.*")}
        )
    assert contents[0] == contents[1]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"precious")
    settings = ExportSettings("test", PlannerSettings(candidates=CANDIDATES))
    with pytest.raises(BundleError, match="is no bundle"):
        write_bundle(checkpoint_of(random_model()), tmp_path, settings, print)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
