"""Writes the lists of an ONNX model packed: one tag for a whole list, where onnx.proto gives every number its own.

A forest is little but lists of numbers, and becomes a quarter smaller. The format of protocol buffers demands that each
reader takes both forms ("Packed repeated fields" in its specification of the encoding), so this changes no promise.
"""

from functools import cache
from typing import Any

import onnx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_ATTRIBUTE = "AttributeProto"
_LISTS = ("floats", "ints")


def packed_bytes(model: onnx.ModelProto) -> bytes:
    """Return the bytes of a model, the same for the same model."""
    read = _packed_model().FromString(model.SerializeToString())
    return bytes(read.SerializeToString(deterministic=True))


@cache
def _packed_model() -> Any:
    """Return the class of a model whose attributes' lists are declared as packed."""
    described = descriptor_pb2.FileDescriptorProto()
    onnx.ModelProto.DESCRIPTOR.file.CopyToProto(described)
    attribute = next(message for message in described.message_type if message.name == _ATTRIBUTE)
    for field in attribute.field:
        if field.name in _LISTS:
            field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(onnx.ModelProto.DESCRIPTOR.full_name))
