"""What a run of a graph takes at least: operations of its matrix products, bytes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import onnx
from onnx import numpy_helper, shape_inference

from networld_runtime.bundle import CANDIDATES, Work
from networld_runtime.errors import BundleError

PRODUCTS = {"MatMul", "Gemm"}


def count_work(path: Path) -> Work:
    """Return the work of a graph, whose operations grow evenly with the number of plans.

    Only matrix products count: what is done element by element is a small part of it, and a limit that leaves
    it out is never too easy to reach.

    Raises:
        BundleError: The size of a matrix cannot be told.
    """
    model = onnx.load(path)
    one, two = (_operations(model, plans) for plans in (1, 2))
    return Work(2 * one - two, two - one, weight_bytes(path))


def weight_bytes(path: Path) -> int:
    """Return the bytes of a graph's weights."""
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return sum(array.nbytes for array in weights if array.ndim >= 1)


def _operations(model: onnx.ModelProto, plans: int) -> int:
    """Return multiplications and additions with so many plans."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    del sized.graph.value_info[:]
    for value in (*sized.graph.input, *sized.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == CANDIDATES:
                size.dim_value = plans
    sized = shape_inference.infer_shapes(sized, data_prop=True)
    shapes = _shapes(sized)
    return sum(_products(node, shapes) for node in sized.graph.node if node.op_type in PRODUCTS)


def _products(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return twice the rows times columns times what is summed over."""
    try:
        result, left = shapes[node.output[0]], shapes[node.input[0]]
    except KeyError as error:
        raise BundleError(f"node {node.name}", f"no shape of {error} is known") from error
    transposed = any(flag.name == "transA" and flag.i for flag in node.attribute)
    return 2 * prod(result) * left[-2 if transposed else -1]


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = model.graph
    shapes: dict[str, tuple[int, ...]] = {
        tensor.name: tuple(tensor.dims) for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.output, *graph.value_info):
        sizes = value.type.tensor_type.shape.dim
        if all(size.HasField("dim_value") for size in sizes):
            shapes[value.name] = tuple(size.dim_value for size in sizes)
    return shapes
