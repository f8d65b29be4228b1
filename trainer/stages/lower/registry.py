"""What a lowering is, apart from the tables that list them."""

from collections.abc import Callable
from typing import Any

from trainer.core.graph import Part

# From a fitted estimator to the parts that compute what it computes; raises UnbuildableError with the reason.
Lowering = Callable[[Any], tuple[Part, ...]]
