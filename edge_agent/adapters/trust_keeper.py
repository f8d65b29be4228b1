"""Holds verified metadata against the floors, and keeps it: the part of TUF's client workflow that lasts between runs.

House rules: floors are raised first, metadata is kept second: what is lost then costs nothing. Whoever verifies says
when to keep. Source: TUF specification 1.0.34, 5.3.11 (recovery), 5.4.3, 5.5.5 and 5.6 (versions never go back).
"""

import datetime as dt
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edge_agent.adapters.trust_client import ROLES, CacheFetcher, Repository, open_repository
from edge_agent.adapters.trust_floors import Floors, RoleVersion
from edge_agent.adapters.trust_state import DistrustedError, TrustState
from edge_agent.contract.states import Reason

# Floors of what a snapshot lists, beside those of the roles themselves.
_LISTED = "listed:"
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


class Keeper:
    """Floors and metadata of one state folder."""

    def __init__(self, state: TrustState, floors: Floors) -> None:
        self._state = state
        self._floors = floors

    def recover(self, name: str, folder: Path) -> Repository | None:
        """Verify the metadata that was kept last, as far as it verifies still; for floors that are lost.

        Nothing expires here, since it is only about what was seen. Nothing is returned where not even a timestamp
        verifies: what is pinned is no floor of anything.
        """
        repository: Repository | None = None
        with suppress(DistrustedError):
            files = self._state.cached(name)
            repository = open_repository(name, CacheFetcher(files), self._state.pinned(name), folder)
            repository.refresh(_EPOCH)
            repository.load_delegations(files)
        if repository is None or all(one.role != ROLES[1] for one in repository.versions()):
            return None
        return repository

    def check_versions(self, repository: Repository) -> None:
        """Hold the version of every role that is verified so far against its floor.

        Raises:
            DistrustedError: one is below, or has another content than that version had.
        """
        for role in repository.versions():
            self._check(repository.name, role)

    def check_listed(self, repository: Repository) -> None:
        """Hold what the snapshot lists of other roles against what snapshots listed before.

        Raises:
            DistrustedError: a version is below, or a role is left out that is delegated still.
        """
        verified = {role.role for role in repository.versions()}
        listed = {_LISTED + role.role: role for role in repository.listed()}
        for name, role in listed.items():
            if role.role not in verified:
                self._check(repository.name, replace(role, role=name))
        for floor in self._floors.named(repository.name, _LISTED, repository.version_of(ROLES[2])):
            left_out = floor.role.removeprefix(_LISTED)
            if floor.role not in listed and repository.is_delegated(left_out):
                detail = f"{repository.name}: the snapshot does not list {left_out} any more"
                raise DistrustedError(Reason.INCONSISTENT, detail)

    def _check(self, name: str, role: RoleVersion) -> None:
        floor = self._floors.in_force(name, role)
        if floor is None:
            return
        if role.version < floor.version:
            detail = f"{name}: {role.role} {role.version} is below {floor.version}, which this device has seen"
            raise DistrustedError(Reason.ROLLED_BACK, detail)
        if role.version == floor.version and role.digest != floor.digest:
            detail = f"{name}: there are two different contents of {role.role} {role.version}"
            raise DistrustedError(Reason.INCONSISTENT, detail)

    def keep(self, repository: Repository, others: tuple[RoleVersion, ...] = ()) -> None:
        """Keep verified metadata, durably, with its floors and `others`.

        Raises:
            OSError: the disk is full or not writable.
            sqlite3.Error: the same.
        """
        self.raise_floors(repository, others)
        self._state.keep(repository.name, repository.folder)

    def raise_floors(self, repository: Repository, others: tuple[RoleVersion, ...] = ()) -> None:
        """Raise the floors to what is verified, and to `others`; note the versions as held.

        Raises:
            sqlite3.Error: nothing was written.
        """
        versions = repository.versions()
        listed = [replace(one, role=_LISTED + one.role) for one in repository.listed()]
        held = [one for one in versions if one.role in ROLES]
        self._floors.raise_to(repository.name, (*versions, *listed, *others), held)
