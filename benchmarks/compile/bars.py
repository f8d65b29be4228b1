"""The bars that the compiler is held to, worked out from the figures of one run: pure functions of the JSON.

3  against skl2onnx on ONNX Runtime: never over 5 % slower on one row, geometric mean 1.5 times faster over the
   families; no file larger, forests at least 2.5 times smaller
4  the fastest of our variants against scikit-learn on one row: geometric mean at least 60 times faster
5  the MLP in eight bits: at least 3.5 times smaller, at most 0.5 points lost, faster than in float32 on each runtime
6  conversion: every family within 3 s, 95 % of them within 0.5 s
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

SLOWER, FASTER, SMALLER = 0.95, 1.5, 2.5
AGAINST_SKLEARN = 60.0
INT8_SMALLER, INT8_POINTS = 3.5, 0.5
LONGEST_S, USUAL_S, USUAL_SHARE = 3.0, 0.5, 0.95
Bar = dict[str, Any]


def mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean; 1 of nothing."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def judge(families: list[Mapping[str, Any]], eight_bits: Mapping[str, Any]) -> list[Bar]:
    """Return every bar with its figure, what is asked, whether it holds, and what misses it."""
    against = [family for family in families if "skl2onnx_row" in family["ratios"]]
    rows = {family["name"]: family["ratios"]["skl2onnx_row"] for family in against}
    sizes = {family["name"]: family["ratios"]["skl2onnx_size"] for family in against}
    forests = {family["name"]: sizes[family["name"]] for family in against if family["forest"]}
    took = {family["name"]: family["convert_s"] for family in families}
    usual = sum(seconds <= USUAL_S for seconds in took.values()) / max(len(took), 1)
    best = [family["ratios"]["sklearn_row"] for family in families]
    return [
        _least("3", "one row against skl2onnx, the least ratio", rows, SLOWER),
        _bar("3", "one row against skl2onnx, geometric mean", mean(rows.values()), FASTER),
        _least("3", "size against skl2onnx, the least ratio", sizes, 1.0),
        _least("3", "size of forests against skl2onnx, the least ratio", forests, SMALLER),
        _bar("4", "one row against scikit-learn, geometric mean", mean(best), AGAINST_SKLEARN),
        *_judge_eight_bits(eight_bits),
        _most("6", "the longest conversion, s", took, LONGEST_S),
        _bar("6", f"share of conversions within {USUAL_S:g} s", usual, USUAL_SHARE),
    ]


def _judge_eight_bits(measured: Mapping[str, Any]) -> list[Bar]:
    if not measured:
        return []
    smaller = {runtime: figures["size_ratio"] for runtime, figures in measured.items()}
    lost = {runtime: figures["points_lost"] for runtime, figures in measured.items()}
    faster = {runtime: figures["row_ratio"] for runtime, figures in measured.items()}
    return [
        _least("5", "MLP in eight bits: times smaller, the least", smaller, INT8_SMALLER),
        _most("5", "MLP in eight bits: points lost, the most", lost, INT8_POINTS),
        _least("5", "MLP in eight bits: times faster on one row, the least", faster, 1.0),
    ]


def _bar(number: str, what: str, figure: float, asked: float) -> Bar:
    return {"bar": number, "what": what, "figure": figure, "asked": asked, "holds": figure >= asked, "missed_by": {}}


def _least(number: str, what: str, figures: Mapping[str, float], asked: float) -> Bar:
    missed = {name: figure for name, figure in figures.items() if not figure >= asked}
    figure = min(figures.values(), default=asked)
    return _bar(number, what, figure, asked) | {"holds": not missed, "missed_by": missed}


def _most(number: str, what: str, figures: Mapping[str, float], asked: float) -> Bar:
    missed = {name: figure for name, figure in figures.items() if not figure <= asked}
    figure = max(figures.values(), default=asked)
    return _bar(number, what, figure, asked) | {"holds": not missed, "missed_by": missed}
