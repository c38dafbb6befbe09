"""Graphs of fewer bytes: weights of int8 and products of whole numbers, or numbers of two bytes."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import networld_runtime.sessions  # noqa: F401 - turns telemetry off, which must come first
from networld_export.work import PRODUCTS
from networld_runtime.bundle import CANDIDATES


def quantise(source: Path, target: Path) -> None:
    """Write a copy of a graph whose matrix products take int8 weights, scaled column by column.

    Products that are made once for all plans stay as they are: with a row or two there is nothing to gain.

    What comes in is quantised when the graph runs, over its own range (dynamic quantisation). The exporter's
    notes on inner shapes are left out: they name an example's size where any is allowed.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - see above

    model = onnx.load(source)
    del model.graph.value_info[:]
    _turn_weights(model)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / source.name
        onnx.save(model, bare)
        quantize_dynamic(
            bare,
            target,
            op_types_to_quantize=sorted(PRODUCTS),
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=[*_vectors(model), *_made_once(model)],
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def halve(source: Path, target: Path) -> None:
    """Write a copy of a graph that computes with numbers of two bytes; inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415 - see above

    model = onnx.load(source)
    del model.graph.value_info[:]
    onnx.save(convert_float_to_float16(model, keep_io_types=True), target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice off the screen that does not apply, and the root logger as it was."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _vectors(model: onnx.ModelProto) -> list[str]:
    """Return the products with a vector, which has no columns to scale."""
    sizes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in PRODUCTS and sizes.get(node.input[1], 2) < 2
    ]


def _made_once(model: onnx.ModelProto) -> list[str]:
    """Return the products of what does not depend on the plans."""
    plans = {CANDIDATES}
    many = {
        value.name
        for value in model.graph.input
        if plans & {size.dim_param for size in value.type.tensor_type.shape.dim}
    }
    for node in model.graph.node:  # in the order in which they run
        if many & set(node.input):
            many |= set(node.output)
    return [
        f"{node.name}{suffix}"
        for node in model.graph.node
        if node.op_type in PRODUCTS and not many & set(node.output)
        for suffix in ("", "_MatMul")  # what ONNX Runtime splits a Gemm into
    ]


def _turn_weights(model: onnx.ModelProto) -> None:
    """Store transposed weights as they are multiplied: those that several steps share are then turned once.

    ONNX Runtime's own quantiser turns them once for every use, and the second time turns them back.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    turned: set[str] = set()
    for node in model.graph.node:
        flags = {flag.name: flag for flag in node.attribute}
        if node.op_type != "Gemm" or "transB" not in flags or not flags["transB"].i:
            continue
        name = node.input[1]
        if name not in turned:
            values = np.ascontiguousarray(numpy_helper.to_array(weights[name]).T)
            weights[name].CopyFrom(numpy_helper.from_array(values, name))
            turned.add(name)
        flags["transB"].i = 0
