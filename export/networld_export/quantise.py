"""Graphs whose weights are int8: a quarter of the bytes, and products of whole numbers."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import networld_runtime.sessions  # noqa: F401 - turns telemetry off, which must come first

PRODUCTS = ["MatMul", "Gemm"]


def quantise(source: Path, target: Path) -> None:
    """Write a copy of a graph whose matrix products take int8 weights, scaled for each matrix.

    What comes in is quantised when the graph runs, over its own range (dynamic quantisation). The exporter's
    notes on inner shapes are left out: they name an example's size where any is allowed.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - see above

    model = onnx.load(source)
    del model.graph.value_info[:]
    _turn_weights(model)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # advice that does not apply here
    try:
        with tempfile.TemporaryDirectory() as folder:
            bare = Path(folder) / source.name
            onnx.save(model, bare)
            quantize_dynamic(
                bare,
                target,
                op_types_to_quantize=PRODUCTS,
                weight_type=QuantType.QInt8,
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
    finally:
        logging.getLogger().setLevel(level)


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
