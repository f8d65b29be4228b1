"""Lowering of pipelines: each step takes what the step before it gives."""

from collections.abc import Mapping
from typing import Any

from edge_agent.kernels.builder import Builder
from trainer.stages.lower.registry import Lowering, lower_features, lower_part


def lower_pipeline(estimator: Any, b: Builder, source: int) -> int:
    """Pipeline: what its steps but the last transform, and what the last one predicts or transforms."""
    for _, step in estimator.steps[:-1]:
        source = lower_features(step, b, source)
    return lower_part(estimator.steps[-1][1], b, source)


def lower_transforming(estimator: Any, b: Builder, source: int) -> int:
    """Pipeline as a step of another one: what all of its steps transform."""
    for _, step in estimator.steps:
        source = lower_features(step, b, source)
    return source


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.pipeline.Pipeline": lower_pipeline,
}
FEATURES: Mapping[str, Lowering] = {
    "sklearn.pipeline.Pipeline": lower_transforming,
}
