"""Collects the operators and constants of one ONNX graph and gives names to their results.

House rules: IR 8, opset 18, ai.onnx.ml 3: what ONNX Runtime has loaded since 1.15. Equal constants are kept once.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.kernels.rounding import to_singles
from trainer.stages.onnx_graph import INPUT_NAME, IR_VERSION, OUTPUT_NAME, checked_bytes
from trainer.stages.onnx_packing import packed_bytes

OPSETS = {"": 18, "ai.onnx.ml": 3}


class OnnxWriter:
    """A graph in the making; every method that adds something returns the name of the tensor that it gives."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._ones = ""
        # Columns of the tensors that are values of the lowered graph.
        self.widths = {INPUT_NAME: columns}

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator of one result."""
        return self.op_of_two(kind, *inputs, results=1, domain=domain, **attributes)[0]

    def op_of_two(self, kind: str, *inputs: str, results: int = 2, domain: str = "", **attributes: Any) -> list[str]:
        """Add an operator of several results."""
        names = [f"v{len(self._nodes)}" + "abc"[index : index + 1] * (results > 1) for index in range(results)]
        node = helper.make_node(kind, list(inputs), names, domain=domain)
        node.attribute.extend(
            _attribute(name, attributes[name]) for name in sorted(attributes) if attributes[name] is not None
        )
        self._nodes.append(node)
        return names

    def floats(self, values: Any) -> str:
        """Add a float32 constant."""
        return self.constant(to_singles(np.asarray(values, dtype=np.float64)))

    def integers(self, *values: int) -> str:
        """Add an int64 constant of one dimension: axes, sizes, indices."""
        return self.constant(np.array(values, dtype=np.int64))

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant as it is."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(values, f"c{len(self._constants)}")
        return self._constants[key].name

    def cast(self, source: str) -> str:
        """Add the cast to float32."""
        return self.op("Cast", source, to=TensorProto.FLOAT)

    def every_row(self, row: str) -> str:
        """Add the repetition of a constant row for each row of the input."""
        if not self._ones:
            first = self.op("Gather", INPUT_NAME, self.integers(0), axis=1)
            # What comes in may be NaN or infinite, so that no multiple of it is zero for sure.
            self._ones = self.op("Mul", self.cast(self.op("IsNaN", first)), self.floats([0.0]))
        return self.op("Add", self._ones, row)

    def finish(self, result: str, columns: int) -> bytes:
        """Return the bytes of the model that gives `result`.

        Raises:
            RejectedError: the checker of ONNX does not accept it.
        """
        last = self._nodes[-1] if self._nodes else None
        if last is not None and list(last.output) == [result]:
            last.output[0] = OUTPUT_NAME
        else:
            self._nodes.append(helper.make_node("Identity", [result], [OUTPUT_NAME]))
        graph = helper.make_graph(
            self._nodes,
            "scores",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [None, self._columns])],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [None, columns])],
            list(self._constants.values()),
        )
        domains = {node.domain for node in self._nodes} | {""}
        imports = [helper.make_opsetid(domain, OPSETS[domain]) for domain in sorted(domains)]
        model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=imports, producer_name="edgeloop")
        checked_bytes(model)
        return packed_bytes(model)


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    """Return an attribute; of an array, which may have a hundred thousand entries, without looking at each of them."""
    if not isinstance(value, np.ndarray):
        return helper.make_attribute(name, value)
    attribute = onnx.AttributeProto(name=name)
    match value.dtype.kind:
        case "f":
            attribute.type = onnx.AttributeProto.FLOATS
            attribute.floats.extend(value.tolist())
        case "S":
            attribute.type = onnx.AttributeProto.STRINGS
            attribute.strings.extend(value.tolist())
        case _:
            attribute.type = onnx.AttributeProto.INTS
            attribute.ints.extend(value.tolist())
    return attribute
