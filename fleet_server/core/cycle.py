"""The arrows of the cycle, and the row of the audit log that each one leaves when a model was made anew.

develop → evaluate → good enough? → deploy → monitor → update → evaluate → good enough? → deploy → monitor
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Recorded(Protocol):
    """A row of the audit log; `detail` is text of a JSON object."""

    @property
    def action(self) -> str:
        """What was done."""

    @property
    def subject(self) -> str:
        """To what."""

    @property
    def detail(self) -> str:
        """What else is known of it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: `version` was made by people, `made` came of `proposal` in its place."""

    model: str
    version: int
    made: int
    proposal: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow, the action that is audited there, and what stands in the row's subject or detail (see `Turn`)."""

    name: str
    action: str
    about: str


ARROWS: Sequence[Arrow] = (
    Arrow("develop → evaluate", "version_registered", "{model}@{version}"),
    Arrow("evaluate → good enough?", "bundle_signed", "{model}/{version}/"),
    Arrow("good enough? → deploy", "decided_start", '"version":{version}}'),
    Arrow("deploy → monitor", "decided_succeed", '"version":{version}}'),
    Arrow("monitor → update", "proposal_proposed", "{proposal}"),
    Arrow("update → evaluate", "proposal_training", "{proposal}"),
    Arrow("evaluate → good enough?", "proposal_registered", "{proposal}"),
    Arrow("good enough? → deploy", "proposal_rolling", "{proposal}"),
    Arrow("deploy → monitor", "proposal_done", "{proposal}"),
)


def trace_cycle(turn: Turn, rows: Iterable[Recorded]) -> tuple[tuple[Arrow, Recorded | None], ...]:
    """Return each arrow with its row of the log, the oldest first, or None from the first that left none on."""
    left, found = iter(rows), []
    for arrow in ARROWS:
        words = arrow.about
        for name in ("model", "version", "made", "proposal"):
            words = words.replace(f"{{{name}}}", str(getattr(turn, name)))
        row = next((row for row in left if row.action == arrow.action and _speaks_of(row, words)), None)
        found.append((arrow, row))
    return tuple(found)


def _speaks_of(row: Recorded, words: str) -> bool:
    return words in row.subject or words in row.detail.replace(" ", "")
