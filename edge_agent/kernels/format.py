"""The file of a lowered graph: one JSON header, then the arrays, as the numpy runtime of a device loads them.

    8 bytes   magic, with the number of the format
    4 bytes   size of the header, little-endian
    8 bytes   size of the whole file, little-endian
    header    {"columns": n, "nodes": [{"kind": "Dense", "source": 0, "weights": {"type", "shape", "at"}, …}]}
    arrays    little-endian, at offsets from the end of the header that are multiples of 8

House rules: everything in a file is doubted: sizes have bounds, types are those of the primitive's fields, nothing is
unknown, and the graph checks that it fits together. Floats are stored as float32 (thresholds floored), small integers
as they are; a field that is at its default is left out.
"""

import dataclasses
import json
import struct
from enum import StrEnum
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import (
    Apply,
    Combine,
    Constant,
    Dense,
    Distance,
    Fill,
    Flags,
    Floats,
    Int8s,
    Ints,
    Join,
    Lookup,
    Missing,
    Nearest,
    Node,
    Pick,
    Reduce,
    Scale,
    Smalls,
    Trees,
    Vote,
)
from edge_agent.kernels.rounding import floor_singles, to_singles

MAGIC = b"EDGRAPH\x01"
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_NODES = 1 << 14
# Columns of a value: a row takes this many numbers at most, at any one place of the graph.
MAX_WIDTH = 1 << 20
_ALIGNMENT = 8
_PREFIX = struct.Struct("<8sIQ")
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Constant, Scale, Dense, Apply, Pick, Join, Combine, Reduce, Trees, Distance, Vote, Nearest, Fill, Missing,
        Lookup,
    )
}  # fmt: skip
_HINTS = {kind: get_type_hints(kind) for kind in _KINDS.values()}
_DEFAULTS = {
    kind: {field.name: field.default for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    for kind in _KINDS.values()
}
_TYPES: dict[str, np.dtype[Any]] = {
    "f4": np.dtype("<f4"),
    "i4": np.dtype("<i4"),
    "i2": np.dtype("<i2"),
    "i1": np.dtype("i1"),
    "b1": np.dtype("?"),
}
# Which types the fields of a primitive may hold.
_ARRAYS: dict[Any, tuple[str, ...]] = {
    Floats: ("f4",),
    Floats | Int8s: ("f4", "i1"),
    Floats | Smalls: ("f4", "i2", "i1"),
    Ints: ("i4",),
    Flags: ("b1",),
    Flags | None: ("b1",),
}


class FormatError(ValueError):
    """The bytes are no graph; the message says what is wrong with them."""


def encode(graph: Graph) -> bytes:
    """Return the file of a graph.

    Raises:
        FormatError: it is beyond the bounds of a file.
    """
    arrays = _ArrayWriter()
    nodes = [
        {"kind": type(node).__name__}
        | {name: _encode_field(node, name, arrays) for name in _HINTS[type(node)] if not _is_default(node, name)}
        for node in graph.nodes
    ]
    header = json.dumps({"columns": graph.columns, "nodes": nodes}, separators=(",", ":")).encode("ascii")
    header += b" " * (-(_PREFIX.size + len(header)) % _ALIGNMENT)
    data = _PREFIX.pack(MAGIC, len(header), _PREFIX.size + len(header) + len(arrays.data)) + header + bytes(arrays.data)
    decode(data)
    return data


def decode(data: bytes) -> Graph:
    """Return the graph of a file; its arrays are read-only views of `data`.

    Raises:
        FormatError: it is none, or beyond the bounds.
    """
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(f"{len(data)} bytes are more than the {MAX_FILE_BYTES} that a graph may have")
    if len(data) < _PREFIX.size:
        raise FormatError("the file ends within its first bytes")
    magic, header_size, size = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise FormatError("the file does not begin as a graph of this format does")
    if size != len(data):
        raise FormatError(f"the file has {len(data)} bytes and should have {size}")
    if header_size > min(MAX_HEADER_BYTES, size - _PREFIX.size):
        raise FormatError(f"a header of {header_size} bytes is beyond the bounds")
    begin = _PREFIX.size + header_size
    try:
        header = json.loads(data[_PREFIX.size : begin])
        return _decode_graph(header, memoryview(data)[begin:])
    except FormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(f"the header is wrong: {type(error).__name__}: {error}") from error


def _decode_graph(header: Any, arrays: memoryview) -> Graph:
    columns, nodes = _whole(header.pop("columns")), header.pop("nodes")
    if header or not isinstance(nodes, list) or not 0 < len(nodes) <= MAX_NODES or columns > MAX_WIDTH:
        raise FormatError(f"a graph has columns and 1 to {MAX_NODES} nodes, and nothing else")
    graph = Graph(columns, tuple(_decode_node(node, arrays) for node in nodes))
    if max(graph.widths) > MAX_WIDTH:
        raise FormatError(f"a value has {max(graph.widths)} columns, more than {MAX_WIDTH}")
    return graph


def _decode_node(given: Any, arrays: memoryview) -> Node:
    kind = _KINDS.get(given.pop("kind"))
    if kind is None:
        raise FormatError("a node is of an unknown kind")
    hints = _HINTS[kind]
    if not hints.keys() - _DEFAULTS[kind].keys() <= given.keys() <= hints.keys():
        raise FormatError(f"the fields of {kind.__name__} are {', '.join(hints)}, not {', '.join(given)}")
    node: Node = kind(**{name: _decode_field(given[name], hints[name], arrays) for name in given})
    return node


def _is_default(node: Node, name: str) -> bool:
    defaults = _DEFAULTS[type(node)]
    return name in defaults and bool(getattr(node, name) == defaults[name])


def _encode_field(node: Node, name: str, arrays: "_ArrayWriter") -> Any:
    value = getattr(node, name)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        value = floor_singles(value) if isinstance(node, Trees) and name == "threshold" else to_singles(value)
    return arrays.add(value)


def _decode_field(given: Any, hint: Any, arrays: memoryview) -> Any:
    if hint in _ARRAYS:
        return None if given is None and hint == Flags | None else _decode_array(given, _ARRAYS[hint], arrays)
    if hint is int:
        return _whole(given)
    if hint is float:
        if type(given) not in (int, float) or not np.isfinite(given):
            raise FormatError(f"{given!r} is no finite number")
        return float(given)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(given)
    # The sources of a join are what is left.
    return tuple(_whole(item) for item in given)


class _ArrayWriter:
    """Puts arrays one after the other and remembers where."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, array: NDArray[Any]) -> dict[str, Any]:
        """Append an array; return its place in the header."""
        name = {"f": "f4", "b": "b1"}.get(array.dtype.kind) or f"i{min(array.dtype.itemsize, 4)}"
        at = len(self.data)
        stored = np.ascontiguousarray(array, dtype=_TYPES[name]).tobytes()
        self.data += stored + bytes(-len(stored) % _ALIGNMENT)
        return {"type": name, "shape": list(array.shape), "at": at}


def _decode_array(given: Any, allowed: tuple[str, ...], arrays: memoryview) -> NDArray[Any]:
    name, shape, at = given.pop("type"), tuple(_whole(size) for size in given.pop("shape")), _whole(given.pop("at"))
    if given or name not in allowed or len(shape) > 2 or at % _ALIGNMENT:
        raise FormatError(f"an array of type {name!r} and shape {shape} does not belong there")
    kind = _TYPES[name]
    count = int(np.prod(shape, dtype=object))
    if at + count * kind.itemsize > len(arrays):
        raise FormatError(f"an array of shape {shape} reaches beyond the end of the file")
    if name == "b1" and np.frombuffer(arrays, np.uint8, count, at).max(initial=0) > 1:
        raise FormatError("a flag is neither 0 nor 1")
    array: NDArray[Any] = np.frombuffer(arrays, kind, count, at).reshape(shape)
    return array


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise FormatError(f"{value!r} is no whole number from 0 on")
    return value
