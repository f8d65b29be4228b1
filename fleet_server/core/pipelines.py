"""A training pipeline: how a model is made anew, by which terms, and what becomes of it; its options as one document.

House rules: unknown keys are errors that name the key, and every key changes some outcome. A recipe here is TOML that
names classes of scikit-learn and data that it carries or that came along: what names code of anybody's is refused.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.contract import codec
from edge_agent.contract.retraining import GateTerms
from edge_agent.contract.topics import check_digest, check_name

_DAY_S = 86_400.0
MAX_RECIPE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What a pipeline may do by itself, and when.

    `group` is rolled out to. `automatic` accepts proposals without a person. `margin`, `tolerance`, `confidence` and
    `newest` are the gate's (see `GateTerms`). A training waits for `min_fresh_rows` and takes the newest
    `max_fresh_rows`. No proposal opens within `cool_down_s` of the end of the last. `deadline_s` is from acceptance to
    the start of the rollout, `training_s` for the training alone. `policy` is the rollout's; without it a cautious one.
    """

    group: str
    automatic: bool = False
    margin: float = 0.01
    tolerance: float = 0.01
    confidence: float = 0.95
    newest: float = 0.3
    min_fresh_rows: int = 2000
    max_fresh_rows: int = 100_000
    cool_down_s: float = 7 * _DAY_S
    deadline_s: float = 7 * _DAY_S
    training_s: float = 1800.0
    policy: codec.JsonObject | None = None

    def __post_init__(self) -> None:
        check_name(self.group)
        self.terms()
        if not 60 <= self.min_fresh_rows <= self.max_fresh_rows <= 1_000_000:
            raise ValueError(
                "min_fresh_rows is 60 at least and max_fresh_rows at most 1000000, the first not above the second"
            )
        for name in ("cool_down_s", "deadline_s", "training_s"):
            value = getattr(self, name)
            if not math.isfinite(value) or not (0 <= value <= 3650 * _DAY_S) or (value == 0 and name != "cool_down_s"):
                raise ValueError(f"{name} is seconds above 0 (cool_down_s: 0 too), at most ten years, not {value:g}")

    def terms(self) -> GateTerms:
        """Return what a retrained model must win by.

        Raises:
            ValueError: one of them is out of range.
        """
        return GateTerms(self.margin, self.tolerance, self.confidence, self.newest)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A registered pipeline: the files by their SHA-256, and its options. Its own digest is over all of this."""

    model: str
    recipe_name: str
    recipe_sha256: str
    options: PipelineOptions
    data_sha256: str | None = None

    def __post_init__(self) -> None:
        check_name(self.model)
        check_digest(self.recipe_sha256)
        if self.data_sha256 is not None:
            check_digest(self.data_sha256)


def parse_options(document: Mapping[str, Any]) -> PipelineOptions:
    """Read options from plain objects.

    Raises:
        ValueError: a key is unknown, missing or out of range; the message names it.
    """
    return codec.from_plain(PipelineOptions, dict(document), unknown="refuse", at="pipeline")


def judge_recipe(recipe: bytes, model: str, *, has_data: bool) -> str | None:
    """Return why a recipe cannot be a pipeline's, or None; the trainer judges every other key when it runs."""
    if len(recipe) > MAX_RECIPE_BYTES:
        return f"a recipe has at most {MAX_RECIPE_BYTES} bytes, not {len(recipe)}"
    try:
        plain = tomllib.loads(recipe.decode())
    except (ValueError, RecursionError) as error:
        return f"the recipe is no TOML: {error}"
    data, steps = plain.get("data"), plain.get("steps")
    if plain.get("model") != model:
        return f"the recipe is of the model {plain.get('model')!r}, not of {model!r}"
    if not isinstance(data, dict) or not isinstance(steps, list) or not steps:
        return "the recipe lacks [data] or [[steps]]"
    if "callable" in data:
        return "data.callable is code, which a server does not run: give the rows with --data"
    if ("csv" in data) != has_data:
        return "a recipe with data.csv comes with its rows, and one with data.sklearn without any"
    names = [step.get("estimator") if isinstance(step, dict) else None for step in steps]
    foreign = next((name for name in names if not isinstance(name, str) or not name.startswith("sklearn.")), "")
    return f"a step is a class below sklearn, not {foreign!r}" if foreign != "" else None
