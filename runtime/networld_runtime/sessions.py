"""The one module that imports ONNX Runtime: sessions with settings for a small computer.

Wheels since 1.29 try to send usage data out unless `ORT_DISABLE_TELEMETRY=1` is set before the import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError

Shape = tuple[int | str, ...]
"""Sizes of dimensions; a name stands for any size."""

ERRORS_ONLY = 3
PROVIDER_NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Names of the configuration and of ONNX Runtime."""


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    return str(onnxruntime.__version__)


def available_providers() -> list[str]:
    """Return the short names of the providers that this build of ONNX Runtime has, `cpu` among them."""
    found = onnxruntime.get_available_providers()
    return [short for short, name in PROVIDER_NAMES.items() if name in found]


class Session:
    """A graph, loaded and checked against the shapes that the contract asks for.

    One thread and no spinning: with the defaults a 20 ms loop burns a core and its tail latency doubles.

    Args:
        path: The ONNX file.
        inputs: Names and shapes that the graph must take.
        outputs: Names and shapes that it must give.

    Raises:
        BundleError: The file does not load or its inputs and outputs differ; lists every difference.
    """

    def __init__(
        self, path: Path, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many types, all without a common base
            reason = str(error).splitlines()[0]
            raise BundleError(str(path), f"does not load ({reason}); export again") from error
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
        """Run the graph; arrays are float32 and C-contiguous, the outputs come in the declared order."""
        return tuple(self._session.run(self._outputs, inputs))
