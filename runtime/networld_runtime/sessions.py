"""The one module that imports ONNX Runtime: sessions with settings for a small computer.

A provider that is not there is an error or a warning, never silence: ONNX Runtime alone would go on without.

Wheels since 1.29 try to send usage data out unless `ORT_DISABLE_TELEMETRY=1` is set before the import.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.execution import ONE_THREAD, ONNX_RUNTIME_NAMES, Execution
from networld_runtime.run_limit import RunLimit

Shape = tuple[int | str, ...]
"""Sizes of dimensions; a name stands for any size."""

ERRORS_ONLY = 3


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    return str(onnxruntime.__version__)


class Session:
    """A graph, loaded and checked against the shapes that the contract asks for.

    No spinning: with the defaults a 20 ms loop burns a core and its tail latency doubles.

    Attributes:
        provider: Where it runs: `cpu`, `cuda` or `tensorrt`.

    Args:
        path: The ONNX file.
        inputs: Names and shapes that the graph must take.
        outputs: Names and shapes that it must give.
        execution: Where it is to run.

    Raises:
        BundleError: The file does not load or its inputs and outputs differ; lists every difference.
        ConfigError: The provider is not there, and that is not to be lived with.
    """

    def __init__(
        self,
        path: Path,
        inputs: Mapping[str, Shape],
        outputs: Mapping[str, Shape],
        execution: Execution = ONE_THREAD,
    ) -> None:
        for self.provider in execution.choose(onnxruntime.get_available_providers()):
            self._session = _load(path, execution, self.provider)
            if ONNX_RUNTIME_NAMES[self.provider] in self._session.get_providers():
                break
        else:
            self.provider = execution.missing("it is built in, but does not start here")
            self._session = _load(path, execution, self.provider)
        found_inputs = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        found_outputs = {node.name: tuple(node.shape) for node in self._session.get_outputs()}
        problems = [
            f"{kind} {name}: shape {found.get(name, 'missing')}, expected {wanted.get(name, 'none')}"
            for kind, found, wanted in (
                ("input", found_inputs, dict(inputs)),
                ("output", found_outputs, dict(outputs)),
            )
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]
        if problems:
            raise BundleError(str(path), problems)
        self._outputs = list(outputs)

    def run(self, **inputs: FloatArray) -> tuple[FloatArray, ...]:
        """Run the graph; arrays are float32 and C-contiguous, the outputs come in the declared order.

        Raises:
            RunTerminatedError: In the context of `limited_runs`, time was up.
        """
        end_s = getattr(_limits, "end_s", math.inf)
        if end_s == math.inf:
            return tuple(self._session.run(self._outputs, inputs))
        options = onnxruntime.RunOptions()
        with _run_limit.watch(options, end_s):
            return tuple(self._session.run(self._outputs, inputs, options))


_limits = threading.local()
_run_limit = RunLimit()


@contextmanager
def limited_runs(end_s: float) -> Iterator[None]:
    """End all runs of graphs in this thread by `end_s`, on the clock of `realtime.monotonic_s`."""
    before = getattr(_limits, "end_s", math.inf)
    _limits.end_s = end_s
    try:
        yield
    finally:
        _limits.end_s = before


def available_providers() -> tuple[str, ...]:
    """Return the providers that this ONNX Runtime was built with, by our names."""
    found = onnxruntime.get_available_providers()
    return tuple(name for name, their in ONNX_RUNTIME_NAMES.items() if their in found)


def _load(path: Path, execution: Execution, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=_asked(path, execution, provider)
        )
    except Exception as error:  # ONNX Runtime raises many types, all without a common base
        reason = str(error).splitlines()[0]
        raise BundleError(str(path), f"does not load ({reason}); export again") from error
    session.disable_fallback()  # else a failed run builds the session anew, for seconds, inside a slot
    return session


def _asked(path: Path, execution: Execution, provider: str) -> list[tuple[str, dict[str, str]]]:
    """Return the providers to ask for, the best first; each is followed by what it may leave nodes to."""
    asked: list[tuple[str, dict[str, str]]] = [(ONNX_RUNTIME_NAMES["cpu"], {})]
    if provider in {"cuda", "tensorrt"}:
        asked.insert(0, (ONNX_RUNTIME_NAMES["cuda"], {}))
    if provider == "tensorrt":
        asked.insert(0, (ONNX_RUNTIME_NAMES["tensorrt"], _tensorrt_options(path, execution)))
    return asked


def _tensorrt_options(path: Path, execution: Execution) -> dict[str, str]:
    """Return options with a folder of engines that is this graph's own.

    TensorRT finds an engine again by the graph's shape alone, and would run an old one with a new bundle.
    """
    options = {"trt_fp16_enable": "1", "trt_layer_norm_fp32_fallback": "1"}
    if execution.cache is not None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        folder = execution.cache / "tensorrt" / f"{digest}-{runtime_version()}"
        folder.mkdir(parents=True, exist_ok=True)
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
    return options
