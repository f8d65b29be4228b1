"""What the server signs of the image repository: its snapshot and timestamp; and the pack that devices get.

House rules: nothing here can list a bundle. Versions jump by the clock, so that a server that was restored from an old
backup is never behind what devices have seen. Source: TUF specification 1.0.34, sections 4.4, 4.6, 7.1.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from edge_agent.contract.trust import IMAGE, seal_pack
from fleet_server.store.releases import TrustFile

ONLINE_DAYS = 30
# Beyond this no clock and no server of ours counts: a device that says so says nonsense.
SENSIBLE_VERSION = 2**40
_ALWAYS_NEWEST = ("timestamp",)
_Online = TypeVar("_Online", Snapshot, Timestamp, Targets)


def moment(now_ms: int) -> dt.datetime:
    """Return epoch milliseconds as TUF's time, which has whole seconds."""
    return dt.datetime.fromtimestamp(now_ms // 1000, dt.UTC)


def jump(last: int, now_ms: int) -> int:
    """Return the next version: one more, or the time in epoch seconds where that is more."""
    return max(last + 1, now_ms // 1000)


def online_expiry(now_ms: int) -> dt.datetime:
    """Return until when what an online key signs now holds."""
    return moment(now_ms) + dt.timedelta(days=ONLINE_DAYS)


def sign_online(signed: _Online, signer: CryptoSigner) -> bytes:
    """Return metadata, signed by an online key, as it is stored and sent."""
    made = Metadata(signed)
    made.sign(signer)
    return made.to_bytes(JSONSerializer(compact=True))


def names_key(root: bytes, signer: CryptoSigner) -> bool:
    """Whether a root gives the timestamp role to this key."""
    return Metadata[Root].from_bytes(root).signed.roles["timestamp"].keyids == [signer.public_key.keyid]


def make_online(
    roles: Mapping[str, bytes], last: Mapping[str, int], signer: CryptoSigner, now_ms: int
) -> tuple[TrustFile, ...]:
    """Return the image repository's roles with a new snapshot and timestamp over them.

    `roles` are the targets and delegated roles; `last` holds the versions of the snapshot and timestamp before.
    """
    versions = {role: Metadata[Targets].from_bytes(data).signed.version for role, data in roles.items()}
    snapshot = Snapshot(
        version=jump(last.get("snapshot", 0), now_ms),
        expires=online_expiry(now_ms),
        meta={f"{role}.json": MetaFile(version) for role, version in versions.items()},
    )
    timestamp = Timestamp(
        version=jump(last.get("timestamp", 0), now_ms),
        expires=online_expiry(now_ms),
        snapshot_meta=MetaFile(snapshot.version),
    )
    return (
        *(TrustFile(IMAGE, role, versions[role], data.decode()) for role, data in roles.items()),
        TrustFile(IMAGE, "snapshot", snapshot.version, sign_online(snapshot, signer).decode()),
        TrustFile(IMAGE, "timestamp", timestamp.version, sign_online(timestamp, signer).decode()),
    )


def file_name(role: str, version: int) -> str:
    """Return the name that TUF gives a file, with consistent snapshots."""
    plain = f"{quote(role, '')}.json"
    return plain if role in _ALWAYS_NEWEST else f"{version}.{plain}"


def pack_files(files: Iterable[TrustFile]) -> bytes:
    """Return a repository's files as the pack that devices get.

    Raises:
        OversizeError: it is larger than devices take.
    """
    return seal_pack({file_name(file.role, file.version): file.body.encode() for file in files})
