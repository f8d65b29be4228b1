"""What a device may do: the states of its identity and the moves between them; and what tells a copied identity.

House rules: a device that is not active is nobody: the broker lets it read and write nothing, its reports are no
evidence, no rollout counts it. A missing row of the table of moves is a refusal, never a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """Whether a device takes part."""

    PENDING = "pending"
    ACTIVE = "active"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"


class Act(StrEnum):
    """What an operator, a rule or an enrolment does with a device's identity."""

    APPROVE = "approve"
    QUARANTINE = "quarantine"
    RELEASE = "release"
    REVOKE = "revoke"
    ENROL = "enrol"


class CloneEvidence(StrEnum):
    """What shows that two boards use one identity, under signatures of one key."""

    SAME_NUMBER = "same_number"
    """Two different reports with the same (boot, seq): a board numbers each report once, durably, before it is sent."""
    WENT_BACK = "went_back"
    """Reports of an earlier boot that are new, again and again after those of a later one."""


# After the reports of a later boot, unknown ones of an earlier boot come once at most from one board: when a retained
# report overtook those that waited for a server that was away. Twice leaves room for a server killed in just that.
MAX_RETURNS = 2

_MOVES: Mapping[tuple[Standing, Act], Standing] = {
    (Standing.PENDING, Act.APPROVE): Standing.ACTIVE,
    (Standing.PENDING, Act.QUARANTINE): Standing.QUARANTINED,
    (Standing.PENDING, Act.REVOKE): Standing.REVOKED,
    (Standing.PENDING, Act.ENROL): Standing.PENDING,
    (Standing.ACTIVE, Act.QUARANTINE): Standing.QUARANTINED,
    (Standing.ACTIVE, Act.REVOKE): Standing.REVOKED,
    (Standing.ACTIVE, Act.ENROL): Standing.ACTIVE,
    # It keeps its place and waits for a release: new keys alone do not say that the cause is gone.
    (Standing.QUARANTINED, Act.ENROL): Standing.QUARANTINED,
    (Standing.QUARANTINED, Act.RELEASE): Standing.ACTIVE,
    (Standing.QUARANTINED, Act.REVOKE): Standing.REVOKED,
}


def decide_standing(standing: Standing, act: Act, *, approved: bool = True) -> Standing | None:
    """Return the standing after an act, or None where it is not allowed; without `approved` an enrolment waits."""
    if (standing, act) == (Standing.REVOKED, Act.ENROL):
        return Standing.ACTIVE if approved else Standing.PENDING
    return _MOVES.get((standing, act))


def needs_new_keys(standing: Standing) -> bool:
    """Whether an enrolment in this standing must bring another key than the one that is known."""
    return standing in (Standing.QUARANTINED, Standing.REVOKED)


@dataclass(frozen=True, slots=True)
class Heard:
    """What is remembered of a device's reports: the boot heard last, the latest boot, returns to an earlier one.

    `latest_ts` is the device's own time (epoch ms) of the newest report of its latest boot.
    """

    boot: int = -1
    latest: int = -1
    returns: int = 0
    latest_ts: int = 0


def judge_report(
    heard: Heard, made: tuple[int, int], digest: str, known: str | None
) -> tuple[Heard, CloneEvidence | None]:
    """Return what is remembered after a report, and what it shows of a copied identity.

    `made` is its boot and time (epoch ms of the device), `digest` is of its content, `known` that of the report heard
    before under the same number, if there was one. The same report again shows nothing and changes nothing: the wire
    may repeat. One of an earlier boot that was made before the newest of the latest boot shows nothing either: it was
    late on its way. (A clock that stepped back makes it look new, hence the room of `MAX_RETURNS`.)
    """
    boot, ts = made
    if known is not None:
        return heard, None if known == digest else CloneEvidence.SAME_NUMBER
    back = boot < heard.latest and heard.boot == heard.latest and ts > heard.latest_ts
    # A later boot begins a new count: the room is for each restart of a board anew.
    returns = 0 if boot > heard.latest else heard.returns + back
    seen = heard.latest_ts if boot <= heard.latest else ts
    latest_ts = seen if boot < heard.latest else max(seen, ts)
    after = Heard(boot, max(boot, heard.latest), returns, latest_ts)
    return after, CloneEvidence.WENT_BACK if returns > MAX_RETURNS else None
