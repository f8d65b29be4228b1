"""What follows when a bundle is yanked: rollouts of it end, groups forget it, devices get what they ran before.

House rules: in the transaction of the push that took it off the list; decided and recorded device by device, never
silently. What a device ran before is given only where it is still listed, else the model is taken from the device.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from fleet_server.core.releases import Bundle
from fleet_server.core.rollout_machine import Move, allowed_moves, move_rollout
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import Assigner
from fleet_server.services.decisions import record_decision
from fleet_server.services.events import record_event
from fleet_server.store import assignments, groups, releases, rollouts
from fleet_server.store.assignments import Assignment
from fleet_server.store.decisions import StoredDecision
from fleet_server.store.events import StoredEvent


class Yanks:
    """Takes yanked bundles from everything that names them."""

    def __init__(self, assigner: Assigner, announcer: Announcer) -> None:
        self._assigner = assigner
        self._announcer = announcer

    def apply(self, connection: Connection, gone: Sequence[Bundle], author: str, now: int) -> None:
        """Do what follows from bundles that are not listed any more."""
        for model, version in dict.fromkeys((bundle.model, bundle.version) for bundle in gone):
            digests = {bundle.digest for bundle in gone if (bundle.model, bundle.version) == (model, version)}
            named: tuple[str, ...] = ()
            ended: list[str] = []
            if not releases.list_version(connection, model, version):
                ended = self._end_rollouts(connection, model, version, author, now)
                named = groups.delete_targets(connection, model, version)
            given = self._take_back(connection, model, version, digests, now)
            evidence = {"groups": list(named), "rollouts": ended, "devices": given}
            self._record(connection, (model, version), author, now, evidence)

    def _end_rollouts(self, connection: Connection, model: str, version: int, author: str, now: int) -> list[str]:
        ended = []
        for stored in rollouts.open_rollouts(connection, model):
            rollout = stored.rollout
            if rollout.version == version and Move.ABORT in allowed_moves(rollout.state):
                moved = move_rollout(rollout, Move.ABORT, now / 1000, f"the version was yanked by {author}")
                rollouts.save_rollout(connection, moved, now)
                ended.append(rollout.id)
        return ended

    def _take_back(
        self, connection: Connection, model: str, version: int, digests: set[str], now: int
    ) -> dict[str, int | None]:
        """Give every device that has one of these bundles what it ran before; return the versions by device."""
        found: dict[str, int | None] = {}
        for held in assignments.all_assignments(connection, model):
            if held.version == version and held.digest in digests:
                before, digest = self._before(connection, held)
                self._assigner.give_back(connection, held.device, model, before, digest, now)
                found[held.device] = before
        return found

    def _before(self, connection: Connection, held: Assignment) -> tuple[int | None, str | None]:
        """Return the version and bundle that the device came from, where that is still listed."""
        for member in rollouts.memberships(connection, held.device, held.model, held.version):
            if member.from_version is None:
                continue
            listed = releases.list_version(connection, held.model, member.from_version).values()
            if any(item.bundle.digest == member.from_digest for item in listed):
                return member.from_version, member.from_digest
        return None, None

    def _record(
        self, connection: Connection, what: tuple[str, int], author: str, now: int, evidence: Mapping[str, object]
    ) -> None:
        model, version = what
        reason = f"version {version} was yanked: devices run what they ran before, or nothing of {model}"
        decision = StoredDecision(
            at=now,
            kind="yank",
            model=model,
            version=version,
            reason=reason,
            author=author,
            rollout=None,
            policy={},
            evidence=evidence,
        )
        record_decision(connection, decision, self._announcer)
        event = StoredEvent(now, "server", "version_yanked", reason, model=model, fields={"version": str(version)})
        record_event(connection, event, self._announcer)
