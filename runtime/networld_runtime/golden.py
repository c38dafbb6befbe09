"""Golden vectors: what the graphs of a bundle answered where they were made, and whether they still do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError

SMALLEST_SIZE = 1e-3
"""Outputs that are smaller than this are compared with this size, not with their own."""


class Graph(Protocol):
    """What is checked of `sessions.Session`."""

    def run(self, **inputs: FloatArray) -> tuple[FloatArray, ...]:
        """Run the graph."""
        ...


@dataclass(frozen=True)
class Golden:
    """The golden vectors of one task.

    Attributes:
        file: A safetensors file; names are `graph/sample/input or output`.
        tolerance: Largest relative error of each graph that has vectors.
    """

    file: Path
    tolerance: Mapping[str, float]


def vector_name(graph: str, sample: int, name: str) -> str:
    """Return the name of an input or output in the file."""
    return f"{graph}/{sample}/{name}"


def relative_error(found: FloatArray, expected: FloatArray) -> float:
    """Return the size of the difference over that of `expected`, both as roots of mean squares.

    It is infinite where the shapes differ.
    """
    if found.shape != expected.shape:
        return np.inf
    size = np.sqrt(np.square(expected, dtype=np.float64).mean())
    difference = np.sqrt(np.square(found - expected, dtype=np.float64).mean())
    return float(difference / max(size, SMALLEST_SIZE))


def check_golden(
    golden: Golden, graph: str, session: Graph, inputs: list[str], outputs: list[str]
) -> None:
    """Run a graph on its golden inputs and compare what comes out; a graph without vectors is let through.

    Args:
        golden: The task's vectors.
        graph: Name of the graph.
        session: The graph, loaded.
        inputs: Names of its inputs.
        outputs: Names of its outputs, in the order in which it gives them.

    Raises:
        BundleError: The graph answers otherwise on this computer, or the file is damaged.
    """
    if graph not in golden.tolerance:
        return
    samples = 0
    worst = 0.0
    try:
        with safe_open(golden.file, framework="numpy") as file:
            names = set(file.keys())
            while vector_name(graph, samples, outputs[0]) in names:
                given = {
                    name: file.get_tensor(vector_name(graph, samples, name)) for name in inputs
                }
                expected = [file.get_tensor(vector_name(graph, samples, name)) for name in outputs]
                found = session.run(**given)
                errors = map(relative_error, found, expected)
                # `max` would lose a NaN
                worst = float(np.maximum.reduce([worst, *errors]))
                samples += 1
    except Exception as error:  # ONNX Runtime raises many types, all without a common base
        reason = str(error).splitlines()[0]
        if isinstance(error, (OSError, SafetensorError)):
            reason = f"cannot be read ({reason})"
        raise BundleError(
            str(golden.file), f"self-test of graph {graph!r}: {reason}; install the bundle again"
        ) from error
    if samples == 0:
        raise BundleError(str(golden.file), f"holds no vectors of graph {graph!r}; export again")
    if not worst <= golden.tolerance[graph]:
        raise BundleError(
            str(golden.file),
            f"self-test of graph {graph!r}: relative error {worst:.1e} on this computer, at most "
            f"{golden.tolerance[graph]:.0e} is allowed; use the versions that runtime/pyproject.toml asks "
            "for, or another bundle",
        )
