"""Baselines of bundles and promises of model cards, read from the registry and kept ready.

House rules: a bundle never changes, so that what was read of it stays true; the cache is bounded.
"""

from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.artifacts import parse_parcel
from edge_agent.contract.baseline import Baseline
from fleet_server.core.concept_rules import Promise, promise_of
from fleet_server.core.yardstick import Yardstick, yardstick_of
from fleet_server.services.packing import unpack_file
from fleet_server.store import models
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.errors import NotFoundError

_KEPT = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle's windows are measured by, and what its model card promises."""

    baseline: Baseline
    yardstick: Yardstick
    promise: Promise | None


class Yardsticks:
    """Finds what a bundle's windows are measured by. Not safe from several threads at once: each has its own."""

    def __init__(self, artifacts: ArtifactFolder) -> None:
        self._artifacts = artifacts
        self._held: OrderedDict[str, Measured] = OrderedDict()

    def find(self, connection: Connection, model: str, version: int, digest: str) -> Measured | None:
        """Return it, or None where the version has no such bundle or the bundle no baseline."""
        if digest in self._held:
            self._held.move_to_end(digest)
            return self._held[digest]
        baseline = self._read(connection, model, version, digest)
        if baseline is None:
            return None
        card = models.get_version(connection, model, version).read_record().card
        found = Measured(baseline, yardstick_of(baseline), promise_of(card.metrics, card.heldout_rows))
        self._held[digest] = found
        if len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return found

    def any_of(self, connection: Connection, model: str, version: int) -> Measured | None:
        """Return that of a version's first bundle that has a baseline."""
        for item in models.list_variants(connection, model, version):
            found = None if item.digest is None else self.find(connection, model, version, item.digest)
            if found is not None:
                return found
        return None

    def _read(self, connection: Connection, model: str, version: int, digest: str) -> Baseline | None:
        for item in models.list_variants(connection, model, version):
            manifest = item.read_manifest() if item.digest == digest else None
            parcel = models.find_any_parcel(connection, digest) if manifest is not None else None
            if manifest is not None and parcel is not None:
                try:
                    content = unpack_file(
                        parse_parcel(self._artifacts.read(parcel.digest)), manifest.baseline_file, self._artifacts
                    )
                    return codec.decode(Baseline, content)
                except (NotFoundError, codec.MalformedError):
                    return None
        return None
