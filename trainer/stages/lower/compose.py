"""Lowering of what puts transformers side by side, and of functions as transformers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering, lower_features
from trainer.stages.lower.steps import add_expm1


def lower_columns(estimator: Any, b: Builder, source: int) -> int:
    """ColumnTransformer: each of `transformers_` on its columns, in their order, by its weight."""
    weights = estimator.transformer_weights or {}
    parts = []
    for name, step, _ in estimator.transformers_:
        columns = estimator._transformer_to_input_indices[name]  # noqa: SLF001 - kept nowhere else
        if (isinstance(step, str) and step == "drop") or not len(columns):
            continue
        parts.append(_add_weighted(b, lower_features(step, b, b.pick(source, columns)), weights.get(name)))
    if not parts:
        raise CannotLower("ColumnTransformer drops every column", "let it keep one")
    return b.join(*parts)


def lower_union(estimator: Any, b: Builder, source: int) -> int:
    """FeatureUnion: all of `transformer_list` on the same row, by weight."""
    weights = estimator.transformer_weights or {}
    parts = [
        _add_weighted(b, lower_features(step, b, source), weights.get(name))
        for name, step in estimator.transformer_list
        if not (isinstance(step, str) and step == "drop")
    ]
    if not parts:
        raise CannotLower("FeatureUnion drops every transformer", "let it keep one")
    return b.join(*parts)


def _add_weighted(b: Builder, value: int, weight: float | None) -> int:
    return value if weight is None else b.scale(value, 0.0, float(weight))


def _log(base: float) -> Callable[[Builder, int], int]:
    return lambda b, source: b.scale(b.apply(source, Function.LOG), 0.0, 1 / np.log(base))


_FUNCTIONS: Mapping[Any, Function] = {
    np.abs: Function.ABS, np.exp: Function.EXP, np.log: Function.LOG, np.sqrt: Function.SQRT,
    np.square: Function.SQUARE, np.sin: Function.SIN, np.cos: Function.COS, np.tanh: Function.TANH,
    np.sign: Function.SIGN, np.floor: Function.FLOOR, np.negative: Function.NEGATE, np.fabs: Function.ABS,
}  # fmt: skip
_FORMULAS: Mapping[Any, Callable[[Builder, int], int]] = {
    np.log1p: lambda b, source: b.apply(b.scale(source, -1.0, 1.0), Function.LOG),
    np.expm1: add_expm1,
    np.log2: _log(2.0),
    np.log10: _log(10.0),
    np.deg2rad: lambda b, source: b.scale(source, 0.0, np.pi / 180),
    np.rad2deg: lambda b, source: b.scale(source, 0.0, 180 / np.pi),
}


def lower_function(estimator: Any, b: Builder, source: int) -> int:
    """FunctionTransformer: `func`, if it is one of numpy's functions that are known here."""
    function = estimator.func
    if function is None:
        return source
    if estimator.kw_args:
        raise CannotLower("FunctionTransformer calls its function with kw_args", "use a function without")
    if isinstance(function, np.ufunc) and function in _FUNCTIONS:
        return b.apply(source, _FUNCTIONS[function])
    if isinstance(function, np.ufunc) and function in _FORMULAS:
        return _FORMULAS[function](b, source)
    known = ", ".join(sorted(item.__name__ for item in (*_FUNCTIONS, *_FORMULAS)))
    raise CannotLower(
        f"FunctionTransformer runs {getattr(function, '__name__', 'a function')} of Python, which no device has",
        f"use one of numpy's: {known}",
    )


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.compose.ColumnTransformer": lower_columns,
    "sklearn.pipeline.FeatureUnion": lower_union,
    "sklearn.preprocessing.FunctionTransformer": lower_function,
}
