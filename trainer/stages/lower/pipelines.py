"""Lowering of pipelines: each step takes what the step before it gives."""

from collections.abc import Mapping
from typing import Any

from edge_agent.kernels.builder import Builder
from trainer.stages.lower.registry import Lowering, lower_part


def lower_pipeline(estimator: Any, b: Builder, source: int) -> int:
    """Pipeline: its `steps` in order."""
    for _, step in estimator.steps:
        source = lower_part(step, b, source)
    return source


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.pipeline.Pipeline": lower_pipeline,
}
