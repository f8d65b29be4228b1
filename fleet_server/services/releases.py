"""The image repository: what release keys have signed, taken from people and handed to every device.

House rules: what is pushed is judged as a whole and stored as a whole, with what follows from it, in one transaction;
the server itself signs only which metadata is the newest. Nothing here can list a bundle.
"""

from collections.abc import Collection, Mapping

import structlog
from sqlalchemy import Connection
from tuf.api.metadata import Metadata, Root, Timestamp

from edge_agent.contract import codec
from edge_agent.contract.artifacts import parse_parcel
from edge_agent.contract.exchange import EXCHANGE_NAME, Awaiting, Exchange
from edge_agent.contract.manifest import MANIFEST_NAME, Runtime
from edge_agent.contract.messages import Reported
from edge_agent.contract.trust import IMAGE, OversizeError
from fleet_server.core.release_rules import judge_push
from fleet_server.core.releases import REPOSITORIES, Accepted, Held, PushRefusedError
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.services.events import record_event
from fleet_server.services.image_metadata import SENSIBLE_VERSION, file_name, make_online, moment, names_key, pack_files
from fleet_server.services.listings import list_waiting
from fleet_server.services.online_keys import OnlineKeys
from fleet_server.services.packing import unpack_file
from fleet_server.services.release_records import announce_signed, record_push, warn_of_releases
from fleet_server.services.yanks import Yanks
from fleet_server.store import desired, devices, models, releases
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError, NotFoundError
from fleet_server.store.events import StoredEvent
from fleet_server.store.releases import TrustFile

_log = structlog.get_logger(__name__)
_DAY_MS = 24 * 3600 * 1000
_HALF_DAYS = 15
_ONLINE = ("snapshot", "timestamp")


class ImageRepository:
    """Shows what waits for a signature, takes what was signed, and keeps the pack fresh."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactFolder,
        keys: OnlineKeys,
        yanks: Yanks,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._keys = keys
        self._yanks = yanks
        self._announcer = announcer
        self._clock = clock
        self._look_again_ms = 0
        self._maybe_behind = True

    def roots(self) -> tuple[str, str]:
        """Return the newest root of the image and of the director repository, as their texts.

        Raises:
            ConflictError: there are none yet.
        """
        with self._database.read() as connection:
            found = [releases.newest_root(connection, repository) for repository in REPOSITORIES]
        if found[0] is None or found[1] is None:
            raise ConflictError(
                "this fleet has no root of trust yet, so no device can be let in: `edgeloop release fetch FOLDER`, "
                "`trainer keys init KEYS FOLDER` where the keys shall be, `edgeloop release push FOLDER`"
            )
        return found[0].body, found[1].body

    def exchange(self) -> dict[str, str]:
        """Return the files of an exchange folder, by path (see `edge_agent.contract.exchange`)."""
        with self._database.read() as connection:
            waiting = [
                Awaiting(item.model, item.version, item.variant, item.digest, Runtime(item.runtime), item.auto)
                for item in list_waiting(connection, self._artifacts)
            ]
            shown = Exchange(self._keys.public, tuple(waiting), self.floor(connection))
            files = {EXCHANGE_NAME: codec.encode(shown).decode()}
            for repository in REPOSITORIES:
                for file in releases.list_files(connection, repository):
                    files[f"{repository}/{file_name(file.role, file.version)}"] = file.body
            for item in waiting:
                files[item.manifest_path] = self._manifest(connection, item.digest)
        return files

    def push(self, files: dict[str, str], author: str) -> Accepted:
        """Take what was signed, by path below `signed/`, as a whole.

        Raises:
            InvalidError: something of it is not as it must be; nothing was stored.
        """
        now = self._clock()
        try:
            pushed = {path: text.encode() for path, text in files.items()}
            with self._database.write() as connection:
                before, held = releases.all_listed(connection), self._held(connection)
                accepted = judge_push(held, pushed, moment(now))
                self._store(connection, accepted, now)
                record_push(connection, accepted, (held.roles, before), author, now)
                added = {name: item.bundle for name, item in accepted.listed.items() if name not in before}
                announce_signed(connection, added, self._announcer, author, now)
                gone = [item.bundle for name, item in before.items() if name not in accepted.listed]
                for bundle in gone:
                    releases.save_yanked(connection, bundle, now, author)
                    detail = {"digest": bundle.digest}
                    record_audit(connection, now, author, "bundle_yanked", bundle.target, detail)
                self._yanks.apply(connection, gone, author, now)
        except (PushRefusedError, UnicodeEncodeError) as error:
            raise InvalidError(f"the push was refused, and nothing was stored: {error}") from error
        _log.info("releases_pushed", author=author, files=sorted(files), listed=len(accepted.listed), yanked=len(gone))
        return accepted

    def pack(self, connection: Connection) -> bytes:
        """Return the pack of the image repository.

        Raises:
            NotFoundError: nothing was signed yet.
            OversizeError: it is larger than devices take.
        """
        files = releases.list_files(connection, IMAGE)
        if not any(file.role == "timestamp" for file in files):
            raise NotFoundError("the image repository has no metadata yet")
        return pack_files(files)

    def refresh(self) -> bool:
        """Sign the snapshot and timestamp anew where half of their lifetime is over; return whether that was now.

        Looked at once a day. What people must sign again is announced a month before it expires.
        """
        now = self._clock()
        if now < self._look_again_ms:
            return False
        self._look_again_ms = now + _DAY_MS
        with self._database.write() as connection:
            stored = releases.find_file(connection, IMAGE, "timestamp")
            if stored is None:
                return False
            warn_of_releases(connection, self._keys, self._announcer, now)
            left = Metadata[Timestamp].from_bytes(stored.body.encode()).signed.expires - moment(now)
            if left.days >= _HALF_DAYS:
                return False
            roles = {file.role: file.body.encode() for file in _roles(connection)}
            return self._sign(connection, roles, now)

    def hear(self, connection: Connection, report: Reported) -> None:
        """Notice a device that holds newer targets than this server: it was restored from an old backup."""
        seen = report.trust.image_targets
        stored = releases.find_file(connection, IMAGE, "targets")
        if stored is None or not stored.version < seen < SENSIBLE_VERSION:
            return
        self._maybe_behind = True
        detail = (
            f"devices hold version {seen} of the signed list, this server {stored.version}: it was restored from a "
            "backup. Sign above it: edgeloop release fetch FOLDER, trainer sign FOLDER --keys KEYS --renew, "
            "edgeloop release push FOLDER"
        )
        key = f"releases_behind/{stored.version}/{seen}"
        event = StoredEvent(self._clock(), "server", "releases_behind", detail, report.device, key=key)
        record_event(connection, event, self._announcer)

    def floor(self, connection: Connection) -> int:
        """Return the highest version of the targets that a device reports."""
        reports = (board.read_reported() for board in devices.all_devices(connection))
        seen = (report.trust.image_targets for report in reports if report is not None)
        return max((version for version in seen if version < SENSIBLE_VERSION), default=0)

    def is_behind(self) -> bool:
        """Whether a device reported newer targets than are held here; it is looked up once after each such report."""
        if not self._maybe_behind:
            return False
        self._maybe_behind = False
        with self._database.read() as connection:
            stored = releases.find_file(connection, IMAGE, "targets")
            return stored is not None and stored.version < self.floor(connection)

    def trusts_any(self, keyids: Collection[str]) -> bool:
        """Whether the newest root gives the targets role to one of these keys."""
        with self._database.read() as connection:
            root = releases.newest_root(connection, IMAGE)
        named = () if root is None else Metadata[Root].from_bytes(root.body.encode()).signed.roles["targets"].keyids
        return any(keyid in keyids for keyid in named)

    def _held(self, connection: Connection) -> Held:
        roots = {name: releases.newest_root(connection, name) for name in REPOSITORIES}
        bundles = {item.target: item for item in list_waiting(connection, self._artifacts)}
        bundles |= {name: item.bundle for name, item in releases.all_listed(connection).items()}
        return Held(
            online=self._keys.keyids,
            roots={name: root.body.encode() for name, root in roots.items() if root is not None},
            roles={file.role: file.body.encode() for file in _roles(connection)},
            bundles=bundles,
            yanked=frozenset(releases.all_yanked(connection)),
            floor=self.floor(connection),
        )

    def _store(self, connection: Connection, accepted: Accepted, now: int) -> None:
        for (repository, version), data in accepted.roots.items():
            releases.save_root(connection, TrustFile(repository, "root", version, data.decode()))
        releases.replace_listed(connection, accepted.listed)
        self._sign(connection, accepted.roles, now)
        if accepted.roots:  # every director pack holds the roots too
            desired.enqueue_documents(connection, now)

    def _sign(self, connection: Connection, roles: Mapping[str, bytes], now: int) -> bool:
        """Sign which metadata is the newest, and have devices told; False where the root names another key."""
        root = releases.newest_root(connection, IMAGE)
        if root is None or not names_key(root.body.encode(), self._keys.image):
            return False
        held = {file.role: file.version for file in releases.list_files(connection, IMAGE) if file.role in _ONLINE}
        releases.replace_files(connection, IMAGE, make_online(roles, held, self._keys.image, now))
        try:
            self.pack(connection)
        except OversizeError as error:
            raise PushRefusedError(str(error)) from error
        desired.enqueue_trust(connection, now)
        return True

    def _manifest(self, connection: Connection, digest: str) -> str:
        parcel = models.find_any_parcel(connection, digest)
        if parcel is None:
            raise NotFoundError(f"the bundle {digest} was never packed")
        return unpack_file(parse_parcel(self._artifacts.read(parcel.digest)), MANIFEST_NAME, self._artifacts).decode()


def _roles(connection: Connection) -> list[TrustFile]:
    """Return the targets and the delegated roles that are kept."""
    return [file for file in releases.list_files(connection, IMAGE) if file.role not in (*_ONLINE, "root")]
