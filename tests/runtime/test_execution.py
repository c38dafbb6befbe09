"""Where graphs run: what is there is taken, what is not is an error or a warning, and never silence."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networld_runtime import sessions
from networld_runtime.bundle import load_bundle
from networld_runtime.errors import ConfigError
from networld_runtime.execution import ONE_THREAD, ONNX_RUNTIME_NAMES, Execution
from networld_runtime.planner import Planner
from networld_runtime.sessions import available_providers, onnxruntime  # type: ignore[attr-defined]

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"
CPU, CUDA, TENSORRT = ONNX_RUNTIME_NAMES.values()
WITHOUT_GPU = pytest.mark.skipif("cuda" in available_providers(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("provider", "available", "chosen"),
    [
        ("cpu", [TENSORRT, CUDA, CPU], ["cpu"]),
        ("cuda", [TENSORRT, CUDA, CPU], ["cuda"]),
        ("tensorrt", [TENSORRT, CUDA, CPU], ["tensorrt"]),
        ("auto", [TENSORRT, CUDA, CPU], ["tensorrt", "cuda", "cpu"]),
        ("auto", [CUDA, CPU], ["cuda", "cpu"]),
        ("auto", ["AzureExecutionProvider", CPU], ["cpu"]),
    ],
)
def test_what_is_there_is_taken(provider: str, available: list[str], chosen: list[str]) -> None:
    assert Execution(provider).choose(available) == chosen


def test_what_is_not_there_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match='provider = "cuda": this ONNX Runtime has cpu only'):
        Execution("cuda").choose([CPU])
    assert not caplog.records


def test_or_a_warning_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Execution("tensorrt", on_missing="degrade").choose([CUDA, CPU]) == ["cpu"]
    assert "has cuda, cpu only; graphs run on the processor" in caplog.text


def test_all_that_is_out_of_range_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        Execution("gpu", 0, "shrug")
    assert len(caught.value.problems) == 3


@WITHOUT_GPU
def test_a_bundle_runs_where_it_is_told_to() -> None:
    with pytest.raises(ConfigError, match='on_missing = "degrade"'):
        Planner(load_bundle(SHIPPED, "power", Execution("cuda")))
    bundle = load_bundle(SHIPPED, "power", Execution("cuda", on_missing="degrade"))
    assert bundle.session("policy").provider == "cpu"


@WITHOUT_GPU
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_is_built_in_and_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = [CUDA, CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_in)
    with pytest.raises(ConfigError, match="does not start here"):
        load_bundle(SHIPPED, "power", Execution("cuda")).session("policy")
    # what is chosen by itself goes on to the next one
    assert load_bundle(SHIPPED, "power", Execution("auto")).session("policy").provider == "cpu"


def test_threads_change_no_result() -> None:
    bundle = load_bundle(SHIPPED, "power")
    feeds = {
        name: np.full([int(size) for size in shape], 0.3, dtype=np.float32)
        for name, shape in bundle.signature("policy")[0].items()
    }
    two = replace(bundle, execution=replace(ONE_THREAD, threads=2))
    (first,), (second,) = (one.session("policy").run(**feeds) for one in (bundle, two))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_engines_of_another_graph_are_never_taken(tmp_path: Path) -> None:
    """TensorRT finds an engine by the graph's shape: weights of another bundle have a folder of their own."""
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    first.write_bytes(b"one"), second.write_bytes(b"two")
    execution = Execution("tensorrt", cache=tmp_path / "cache")
    found = [
        sessions._tensorrt_options(path, execution)["trt_engine_cache_path"]
        for path in (first, second, first)
    ]
    assert found[0] == found[2] != found[1]
    assert Path(found[0]).is_dir()
    assert "trt_engine_cache_enable" not in sessions._tensorrt_options(first, ONE_THREAD)
