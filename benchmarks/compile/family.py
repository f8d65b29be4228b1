"""Measures one family by every route."""

from pathlib import Path
from typing import Any

import measuring
import numpy as np
from families import Family, load
from peers import PEERS, build_peer
from routes import ORT, OURS, ROUTES, SKL2ONNX, SKLEARN, Built, NotBuilt, build

from edge_agent.contract.manifest import ScoreKind, Task
from trainer.core.arrays import as_matrix
from trainer.core.labels import label_indices
from trainer.stages.metrics import main_metric, measure
from trainer.stages.signature import Signature, read_signature

MANY_ROUNDS = 3


def measure_family(family: Family, folder: Path, rounds: int) -> dict[str, Any]:
    """Return the figures of one family as a plain object: one entry a route, and the ratios between them."""
    estimator, rows = family.fit(), load(family.data)
    signature, columns = read_signature(estimator), rows.x.shape[1]
    built, missing = _build_all(estimator, columns, folder)
    given = {name: rows.held_x if name == SKLEARN else np.float32(rows.held_x) for name in built}
    opened = {name: one.run() for name, one in built.items()}
    bursts = measuring.measure_rows({name: one.run for name, one in built.items()}, given, rounds)
    many = measuring.measure_many(opened, given, MANY_ROUNDS)
    anomaly = signature.task is Task.ANOMALY
    routes: dict[str, Any] = {name: {"missing": why} for name, why in missing.items()}
    for name, one in built.items():
        routes[name] = {
            **measuring.measure_file(one.path),
            **measuring.measure_child(one.runtime, one.path, given[name], folder),
            "row_us": float(np.median(bursts[name])),
            "thousand_ms": many[name],
            "score": None if anomaly and name in PEERS else _score(signature, opened[name](given[name]), rows.held_y),
            "convert_s": one.convert_s,
        }
    ours = [name for name in OURS if name in built]
    return {
        "name": family.name,
        "data": family.data,
        "forest": family.forest,
        "metric": "share of inliers" if anomaly else main_metric(signature.task),
        "routes": routes,
        "convert_s": max(built[name].convert_s for name in ours),
        "ratios": _ratios(bursts, routes, ours),
    }


def _build_all(estimator: Any, columns: int, folder: Path) -> tuple[dict[str, Built], dict[str, str]]:
    built: dict[str, Built] = {}
    missing: dict[str, str] = {}
    for name in ROUTES + PEERS:
        take = build_peer if name in PEERS else build
        try:
            built[name] = take(name, estimator, columns, folder)
        except NotBuilt as error:
            missing[name] = str(error)
    return built, missing


def _ratios(bursts: dict[str, list[float]], routes: dict[str, Any], ours: list[str]) -> dict[str, float]:
    """Return how many times slower or larger others are; `skl2onnx_row` and `_size` on ONNX Runtime, both."""
    best = min(ours, key=lambda name: float(np.median(bursts[name])))
    found = {"sklearn_row": measuring.ratio(bursts[SKLEARN], bursts[best])}
    if SKL2ONNX in bursts and ORT in bursts:
        found["skl2onnx_row"] = measuring.ratio(bursts[SKL2ONNX], bursts[ORT])
        found["skl2onnx_size"] = routes[SKL2ONNX]["size_bytes"] / routes[ORT]["size_bytes"]
    return found


def _score(signature: Signature, answers: Any, target: Any) -> float:
    """Return the main metric on held-out rows; of detectors, whose rows have no truth here, the share of inliers."""
    scores = as_matrix(answers)
    output = signature.output
    if signature.task is Task.ANOMALY:
        return float(label_indices(output, scores).mean())
    if output.kind is not ScoreKind.VALUE and scores.shape[1] != output.columns:
        # A peer that answers with the label's number instead of scores.
        return float((np.asarray(target) == scores[:, 0]).mean())
    name = main_metric(signature.task)
    return measure(signature.task, [name], output, target, scores)[name]
