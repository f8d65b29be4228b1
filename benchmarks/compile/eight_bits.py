"""The MLP (512, 256) on digits with its weights in eight bits against itself in float32, on each runtime."""

from pathlib import Path
from typing import Any

import measuring
import numpy as np
from families import FAMILIES, load
from routes import LITERT, NUMPY, ORT

from edge_agent.kernels.format import encode
from trainer.core.quantization import quantize_graph
from trainer.stages import emit_onnx, emit_tflite
from trainer.stages.lower.estimators import lower
from trainer.stages.quantize_onnx import RUNTIME_OPTIONS
from trainer.stages.run_model import OPENERS

_EMITTERS: dict[str, tuple[str, Any, dict[str, str]]] = {
    ORT: ("onnx", emit_onnx.emit, dict(RUNTIME_OPTIONS)),
    LITERT: ("tflite", emit_tflite.emit, {}),
    NUMPY: ("numpy", encode, {}),
}


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Return for each runtime how much smaller and faster the eight bits are, and what they lose in points."""
    family = next(family for family in FAMILIES if family.name == "MLPClassifier")
    rows, graph = load(family.data), lower(family.fit(), load(family.data).x.shape[1])
    graphs = {"float32": graph, "int8": quantize_graph(graph)}
    opened, files = {}, {}
    for route, (runtime, emit, options) in _EMITTERS.items():
        for precision, one in graphs.items():
            name = f"{route}, {precision}"
            path = folder / f"mlp-{runtime}-{precision}"
            path.write_bytes(emit(one))
            files[name] = measuring.measure_file(path)
            settings = options if precision == "int8" else {}
            opened[name] = lambda opener=OPENERS[runtime], path=path, settings=settings: opener(str(path), settings)[0]
    x = np.float32(rows.held_x)
    bursts = measuring.measure_rows(opened, dict.fromkeys(opened, x), rounds)
    right = {name: float((run()(x).argmax(axis=1) == rows.held_y).mean()) for name, run in opened.items()}
    return {route: _compare(f"{route}, float32", f"{route}, int8", files, bursts, right) for route in _EMITTERS}


def _compare(wide: str, small: str, files: Any, bursts: Any, right: dict[str, float]) -> dict[str, float]:
    return {
        "size_ratio": files[wide]["size_bytes"] / files[small]["size_bytes"],
        "row_ratio": measuring.ratio(bursts[wide], bursts[small]),
        "row_us": float(np.median(bursts[small])),
        "float32_row_us": float(np.median(bursts[wide])),
        "accuracy": right[small],
        "points_lost": (right[wide] - right[small]) * 100,
    }
