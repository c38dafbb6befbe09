"""Graphs whose weights are int8: a quarter of the bytes, and products of whole numbers."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx

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
