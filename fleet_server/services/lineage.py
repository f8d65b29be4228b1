"""The lineage of a version: from the fingerprints of rows to the digests that devices run, with every decision between.

House rules: it is read, never kept: cards, proposals, decisions, signatures and reports say it all already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from fleet_server.services.clock import iso
from fleet_server.services.decisions import plain_decision
from fleet_server.services.listings import ReleaseState, state_of
from fleet_server.services.proposal_records import plain_proposal
from fleet_server.store import devices, models, proposals, releases
from fleet_server.store.database import Database
from fleet_server.store.decisions import page_decisions
from fleet_server.store.pages import MAX_LIMIT, PageRequest
from fleet_server.store.proposals import StoredPipeline, find_pipeline


@dataclass(frozen=True, slots=True)
class Lineage:
    """What is known of where a version came from and where it went; `running` are devices by bundle digest."""

    version: models.Version
    release: ReleaseState
    automatic: bool
    parent: int | None
    proposal: Mapping[str, Any] | None
    pipeline: StoredPipeline | None
    bundles: tuple[models.Variant, ...]
    running: Mapping[str, tuple[str, ...]]
    decisions: tuple[Mapping[str, Any], ...]

    def plain(self) -> dict[str, Any]:
        """Return it as the API shows it: data, making, release, devices, decisions, the oldest first."""
        card: Mapping[str, Any] = self.version.record["card"]
        return {
            "model": self.version.model,
            "version": self.version.version,
            "created": iso(self.version.created),
            "data": dict(card["data"]),
            "made": dict(card.get("lineage", {})),
            "parent": self.parent,
            "gates": list(card.get("gates", ())),
            "metrics": dict(card.get("metrics", {})),
            "release": self.release.value,
            "automatic": self.automatic,
            "proposal": None if self.proposal is None else dict(self.proposal),
            "bundles": [
                {
                    "variant": item.variant,
                    "digest": item.digest,
                    "devices": list(self.running.get(item.digest or "", ())),
                }
                for item in self.bundles
                if item.digest is not None
            ],
            "decisions": [dict(item) for item in self.decisions],
        }


class Lineages:
    """Reads lineages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, model: str, version: int) -> Lineage:
        """Return a version's lineage.

        Raises:
            NotFoundError: there is no such version.
        """
        with self._database.read() as connection:
            found = models.get_version(connection, model, version)
            maker = proposals.find_maker(connection, model, version)
            return Lineage(
                found,
                state_of(connection, model, version),
                releases.is_auto(connection, model, version),
                None if maker is None else maker.version,
                None if maker is None else plain_proposal(maker),
                find_pipeline(connection, model),
                models.list_variants(connection, model, version),
                _running(connection, model, version),
                _decisions(connection, model, version, None if maker is None else maker.id),
            )


def _running(connection: Connection, model: str, version: int) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for board in devices.all_devices(connection):
        report = board.read_reported()
        for item in () if report is None else report.running:
            if (item.model, item.version) == (model, version):
                found[item.digest] = (*found.get(item.digest, ()), board.id)
    return found


def _decisions(connection: Connection, model: str, version: int, proposal: str | None) -> tuple[Mapping[str, Any], ...]:
    """Return the decisions about a version and about the proposal that it came of, without their long evidence."""
    page = page_decisions(connection, PageRequest(limit=MAX_LIMIT), model=model)
    mine = [
        item
        for item in page.items
        if item.version == version or (proposal is not None and item.evidence.get("proposal") == proposal)
    ]
    keys = ("at", "kind", "version", "rollout", "reason", "author")
    return tuple({key: plain_decision(item)[key] for key in keys} for item in reversed(mine))
