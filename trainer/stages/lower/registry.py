"""What a lowering is, apart from the tables that list them.

House rules: every family's module has a table `LOWERINGS` from the full name of a class to its lowering, and where
estimators have a decision function beside their probabilities a table `MARGINS` for that one.
"""

from collections.abc import Callable
from typing import Any

from edge_agent.kernels.builder import Builder
from trainer.errors import UnbuildableError

# From a fitted estimator to the value that holds what it computes from the value `source`; raises CannotLower.
Lowering = Callable[[Any, Builder, int], int]


class CannotLower(UnbuildableError):  # noqa: N818 - it reads as what it says where it is raised
    """An estimator that cannot be lowered exactly: the reason, and what to do instead."""

    def __init__(self, reason: str, what_to_do: str = "") -> None:
        super().__init__(f"{reason}; {what_to_do}" if what_to_do else reason)
        self.reason = reason
        self.what_to_do = what_to_do
