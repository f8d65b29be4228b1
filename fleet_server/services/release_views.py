"""How releases are shown: every version with its state, and the repositories with their keys and expiries."""

from dataclasses import dataclass

from sqlalchemy import Connection
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from fleet_server.core.releases import REPOSITORIES
from fleet_server.services.image_metadata import pack_files
from fleet_server.services.listings import ReleaseState
from fleet_server.store import releases
from fleet_server.store.database import Database
from fleet_server.store.pages import CursorError, Page, PageRequest, decode_cursor, encode_cursor
from fleet_server.store.releases import TrustFile


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A version: its state, and its variants that are signed, wait or were yanked."""

    model: str
    version: int
    state: ReleaseState
    auto: bool
    signed: tuple[str, ...]
    waiting: tuple[str, ...]
    yanked: tuple[str, ...]
    hardware: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleView:
    """The newest metadata of a role: until when it holds, and the keys that may sign it of which `threshold` must."""

    repository: str
    role: str
    version: int
    expires: str
    threshold: int
    keys: tuple[str, ...]


class ReleaseViews:
    """Reads what is shown of releases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_versions(self, request: PageRequest) -> Page[ReleaseView]:
        """Return one page of all versions, by model and number."""
        with self._database.read() as connection:
            found = _views(connection)
        keys = [f"{item.model}/{item.version:010d}" for item in found]
        start = 0
        if request.cursor is not None:
            after = decode_cursor(request.cursor)
            if not isinstance(after, str):
                raise CursorError("this cursor belongs to another list")
            start = sum(key <= after for key in keys)
        end = start + request.limit
        return Page(tuple(found[start:end]), encode_cursor(keys[end - 1]) if end < len(found) else None)

    def roles(self) -> tuple[tuple[RoleView, ...], int, int]:
        """Return the newest metadata of each role, the bytes of the image pack, and how many bundles are listed."""
        with self._database.read() as connection:
            files = {name: releases.list_files(connection, name) for name in REPOSITORIES}
            listed = releases.count_listed(connection)
        roots = {name: [file for file in held if file.role == "root"][-1:] for name, held in files.items()}
        shown = []
        for name, held in files.items():
            for root in roots[name]:
                signed = Metadata[Root].from_bytes(root.body.encode()).signed
                newest = [root, *(file for file in held if file.role != "root")]
                shown += [_role(signed, file) for file in newest]
        size = len(pack_files(files[REPOSITORIES[0]])) if shown else 0
        return tuple(shown), size, listed


def _views(connection: Connection) -> list[ReleaseView]:
    listed, gone = releases.all_listed(connection), releases.all_yanked(connection)
    versions: dict[tuple[str, int], list[tuple[str, str, bool]]] = {}
    for bundle in releases.built_bundles(connection):
        where = "signed" if bundle.target in listed else "yanked" if bundle.target in gone else "waiting"
        versions.setdefault((bundle.model, bundle.version), []).append((bundle.variant, where, bundle.auto))
    return [_view(connection, model, version, items) for (model, version), items in sorted(versions.items())]


def _view(connection: Connection, model: str, version: int, items: list[tuple[str, str, bool]]) -> ReleaseView:
    def of(state: str) -> tuple[str, ...]:
        return tuple(variant for variant, where, _ in items if where == state)

    held = releases.list_version(connection, model, version).values()
    state = ReleaseState.SIGNED if of("signed") else ReleaseState.YANKED if of("yanked") else ReleaseState.UNSIGNED
    hardware = tuple(sorted({name for item in held for name in item.hardware}))
    return ReleaseView(model, version, state, items[0][2], of("signed"), of("waiting"), of("yanked"), hardware)


def _role(root: Root, file: TrustFile) -> RoleView:
    data = file.body.encode()
    found = Metadata[Root | Targets | Snapshot | Timestamp].from_bytes(data)  # type: ignore[type-var]  # any of them
    role = root.roles.get(file.role)
    keys = () if role is None else tuple(role.keyids)
    expires = f"{found.signed.expires:%Y-%m-%dT%H:%M:%SZ}"
    return RoleView(file.repository, file.role, file.version, expires, 1 if role is None else role.threshold, keys)
