"""From a torch function, gradients included, to a checked ONNX file.

`torch.func.grad` cannot be exported directly. `make_fx` first records the function, gradient and all, as core
ATen operators; the recorded graph exports like any other module. Weights become constants on the way.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx

from networld_export.graphs import GraphSource
from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.sessions import Session

OPSET = 18


def largest(values: FloatArray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(values).max())


def typical(values: FloatArray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.square(values).mean()))


def export_graph(source: GraphSource, path: Path) -> None:
    """Write `source` to `path` as one ONNX file.

    Raises:
        BundleError: The exporter gave other inputs, outputs or operators than asked for.
    """
    example = source.example(seed=0)
    if isinstance(source.function, nn.Module):
        subject = source.function.requires_grad_(False)
        any_size = [
            {at: Dim.DYNAMIC for at, size in enumerate(shape) if isinstance(size, str)} or None
            for shape in source.inputs.values()
        ]
    else:
        decompositions = {
            **core_aten_decompositions(),
            torch.ops.aten.empty_permuted.default: _zeros,
        }
        recorded = make_fx(source.function, decomposition_table=decompositions)(*example)
        subject = cast(nn.Module, recorded)
        any_size = None
    with _quiet():
        program = torch.onnx.export(
            subject,
            example,
            dynamo=True,
            input_names=list(source.inputs),
            output_names=list(source.outputs),
            dynamic_shapes=any_size,
            opset_version=OPSET,
            external_data=False,
        )
        if program is None:
            raise BundleError(source.name, "the exporter returned nothing")
        program.save(path, external_data=False)
    model = onnx.load(path)
    _name_dimensions(source, model)
    leave_out_notes(model)
    onnx.save(model, path)
    _check(source, path)


def parity(
    source: GraphSource, path: Path, samples: int, size: Callable[[FloatArray], float] = largest
) -> list[float]:
    """Return the relative errors of a written graph against torch, one for each sample.

    The error of an output is the size of its difference over its own, or over 1e-3 where that is smaller. Of
    a graph that jumps, the worst sample is left out.

    Args:
        source: The graph as torch has it.
        path: The written graph.
        samples: How many inputs are drawn.
        size: Size of an array: its largest value, or `typical`, the root of its mean square.
    """
    session = Session(path, source.inputs, source.outputs)
    errors = []
    for seed in range(1, samples + 1):
        example = source.example(seed)
        feeds = {
            name: np.ascontiguousarray(value.numpy())
            for name, value in zip(source.inputs, example, strict=True)
        }
        expected = source.function(*example)
        worst = 0.0
        for found, wanted in zip(session.run(**feeds), expected, strict=True):
            reference = wanted.detach().numpy()
            worst = max(worst, size(found - reference) / max(size(reference), 1e-3))
        errors.append(worst)
    return sorted(errors)[: -1 if source.jumps else None]


def _name_dimensions(source: GraphSource, model: onnx.ModelProto) -> None:
    """Give dimensions of any size the names that they have in the bundle, not the exporter's own."""
    for values, shapes in (
        (model.graph.input, source.inputs),
        (model.graph.output, source.outputs),
    ):
        for value in values:
            sizes = value.type.tensor_type.shape.dim
            for size, wanted in zip(sizes, shapes.get(value.name, ()), strict=False):
                if isinstance(wanted, str) and not size.HasField("dim_value"):
                    size.dim_param = wanted


def leave_out_notes(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes of each node: lines of source, with paths of this computer."""
    graph = model.graph
    noted = (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    )
    for one in noted:
        del one.metadata_props[:]
        one.doc_string = ""


def _zeros(size: list[int], order: list[int], **_: object) -> Tensor:
    """Stand in for memory without values, which has no ONNX form: SiLU's backward fills some."""
    del order
    return torch.zeros(size)


def _check(source: GraphSource, path: Path) -> None:
    """Refuse graphs with operators from outside the ONNX standard, or with names defined twice."""
    model = onnx.load(path)
    onnx.checker.check_model(model)
    problems = [
        f"operator {node.op_type} of domain {node.domain!r} is not standard ONNX"
        for node in model.graph.node
        if node.domain not in {"", "ai.onnx"}
    ]
    names = [value.name for value in model.graph.input]
    names += [tensor.name for tensor in model.graph.initializer]
    names += [output for node in model.graph.node for output in node.output if output]
    problems += [
        f"name {name!r} is defined twice" for name in {n for n in names if names.count(n) > 1}
    ]
    if problems:
        raise BundleError(f"graph {source.name}", problems)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own progress and known warnings off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
