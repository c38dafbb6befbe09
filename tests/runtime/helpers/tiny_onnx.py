"""Writes small ONNX files without the onnx package: a base station's tests run where there is none."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from networld_runtime.sessions import Shape

FLOAT, INT64 = 1, 7
ATTRIBUTE_INTEGER = 2
IR_VERSION, OPSET = 8, 18

Node = tuple[str, Sequence[str], str] | tuple[str, Sequence[str], str, Mapping[str, int]]
"""Operator, inputs, output, and attributes if there are any."""


def write_graph(
    path: Path,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    nodes: Sequence[Node],
    constants: Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]],
) -> None:
    """Write a graph of standard operators."""
    graph = b"".join(_field(1, _node(*node)) for node in nodes)
    graph += _field(2, b"tiny")
    graph += b"".join(_field(5, _tensor(name, value)) for name, value in constants.items())
    graph += b"".join(_field(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_field(12, _value(name, shape)) for name, shape in outputs.items())
    opset = _field(1, b"") + _number(2, OPSET)
    path.write_bytes(_number(1, IR_VERSION) + _field(7, graph) + _field(8, opset))


def _node(
    operator: str, inputs: Sequence[str], output: str, attributes: Mapping[str, int] | None = None
) -> bytes:
    parts = [_field(1, name.encode()) for name in inputs]
    parts += [_field(2, output.encode()), _field(4, operator.encode())]
    for name, value in (attributes or {}).items():
        attribute = _field(1, name.encode()) + _number(3, value) + _number(20, ATTRIBUTE_INTEGER)
        parts.append(_field(5, attribute))
    return b"".join(parts)


def _tensor(name: str, value: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> bytes:
    kind = FLOAT if value.dtype == np.float32 else INT64
    sizes = b"".join(_number(1, size) for size in value.shape)
    return sizes + _number(2, kind) + _field(8, name.encode()) + _field(9, value.tobytes())


def _value(name: str, shape: Shape) -> bytes:
    sizes = b"".join(
        _field(1, _number(1, size) if isinstance(size, int) else _field(2, size.encode()))
        for size in shape
    )
    tensor = _number(1, FLOAT) + _field(2, sizes)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 0:
        value += 1 << 64
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return struct.pack(f"{len(parts) + 1}B", *parts, value)
