"""The client workflow of The Update Framework over the files of a pack, by the reference implementation.

House rules: only the verifier's short-lived process imports this, since python-tuf and cryptography weigh as much as
the supervisor. Nothing of an earlier run goes in but older roots: versions are compared with the floors of trust.db,
which survive the loss of any file. Foreign errors become `DistrustedError` with a reason of the contract, here and
nowhere else. Source: TUF specification 1.0.34, section 5; python-tuf 7.0 `tuf.ngclient`.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from securesystemslib.formats import encode_canonical
from tuf.api import exceptions
from tuf.api.metadata import Key, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError

from edge_agent.adapters.lean_import import without_urllib3
from edge_agent.adapters.trust_floors import RoleVersion
from edge_agent.adapters.trust_state import DistrustedError
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import AUTO, auto_role
from edge_agent.core.trust_rules import Named

with without_urllib3():
    from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

ROLES = (Root.type, Timestamp.type, Snapshot.type, Targets.type)
_BASE = "pack:///"
_LIMITS = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=8,
    root_max_length=256 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=1024 * 1024,
    targets_max_length=4 * 1024 * 1024,
)
_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (DeserializationError, Reason.MALFORMED),
    (SerializationError, Reason.MALFORMED),
    (exceptions.UnsignedMetadataError, Reason.BAD_SIGNATURE),
    (exceptions.ExpiredMetadataError, Reason.EXPIRED),
    (exceptions.DownloadLengthMismatchError, Reason.OVERSIZE),
    (exceptions.RepositoryError, Reason.INCONSISTENT),
    (exceptions.DownloadError, Reason.INCONSISTENT),
)


class PackFetcher(FetcherInterface):
    """Answers from the files of a pack; what is not in it is not found."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(_BASE)
        if name not in self._files:
            raise exceptions.DownloadHTTPError(f"{name} is not in the pack", 404)
        return iter((self._files[name],))


class CacheFetcher(PackFetcher):
    """Answers from metadata as it is kept: only roots have their numbers in their names."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        number, _, plain = url.removeprefix(_BASE).partition(".")
        return super()._fetch(plain if number.isdigit() and plain != "root.json" else url)


class Repository:
    """One repository's metadata, verified as far as `refresh` came."""

    def __init__(self, name: str, folder: Path, updater: Updater) -> None:
        self.name = name
        self.folder = folder
        self._updater = updater
        # 7.0 has no public way to the verified metadata, nor to the time that expiry is judged by.
        self._set = updater._trusted_set  # noqa: SLF001 - held by tests/edge_agent/adapters/test_trust_client.py

    def refresh(self, at: dt.datetime) -> None:
        """Run the client workflow for the top-level roles, with expiry judged at `at`.

        Raises:
            DistrustedError: why the metadata is not taken.
        """
        with translated(self.name):
            self._set.reference_time = at
            self._updater.refresh()
            _refuse_doubled_keys(self._set.root.keys)
            if self._set.targets.delegations is not None:
                _refuse_doubled_keys(self._set.targets.delegations.keys)

    def expired_at(self, at: dt.datetime) -> str:
        """Return the first top-level role that is expired at a time, or nothing."""
        return next((role for role in ROLES if self._set[role].is_expired(at)), "")

    @property
    def seq(self) -> int:
        """The version of the top-level targets."""
        return self._set.targets.version

    def field(self, name: str) -> Any:
        """Return a field that the repository added to its signed targets, or nothing."""
        return self._set.targets.unrecognized_fields.get(name)

    def targets(self) -> tuple[Named, ...]:
        """Return the top-level targets by name; delegations are left out."""
        return tuple(_named(target) for _, target in sorted(self._set.targets.targets.items()))

    def find(self, name: str) -> Named | None:
        """Return a target by its name, where the role that must sign it does; nothing else counts as listed.

        What is below `auto/` must be of the model's own delegated role, delegated by the top-level targets.

        Raises:
            DistrustedError: the delegated metadata is not to be believed.
        """
        parts = name.split("/")
        if parts[0] != AUTO:
            target = self._set.targets.targets.get(name)
        else:
            with translated(self.name):
                self._updater.get_targetinfo(name)
            target = self._delegated(auto_role(parts[1]), name)
        return None if target is None else _named(target)

    def _delegated(self, role: str, name: str) -> TargetFile | None:
        delegations = self._set.targets.delegations
        roles = {} if delegations is None or delegations.roles is None else delegations.roles
        if role not in roles or not roles[role].is_delegated_path(name) or not self._set.contains(role, Targets.type):
            return None
        signed = self._set[role]
        return signed.targets.get(name) if isinstance(signed, Targets) else None

    def versions(self) -> tuple[RoleVersion, ...]:
        """Return the version and keys of every role that is verified so far."""
        return (*self._top_level(), *self._loaded_delegations())

    def listed(self) -> tuple[RoleVersion, ...]:
        """Return the roles that a verified snapshot lists, with the snapshot's keys, which say so."""
        if Snapshot.type not in self._set:
            return ()
        says, meta = self.version_of(Snapshot.type), self._set.snapshot.meta
        return tuple(
            RoleVersion(file.removesuffix(".json"), info.version, says.keys, says.threshold)
            for file, info in meta.items()
        )

    @property
    def is_whole(self) -> bool:
        """Whether all top-level roles are verified."""
        return Targets.type in self._set

    def version_of(self, role: str) -> RoleVersion:
        """Return the version and keys of a verified top-level role."""
        return next(one for one in self._top_level() if one.role == role)

    def load_delegations(self, files: Mapping[str, bytes]) -> None:
        """Verify the delegated metadata among kept files, by asking for a target that each could have.

        Raises:
            DistrustedError: one of them does not verify.
        """
        for name in files:
            role = unquote(name.removesuffix(".json"))
            if role.startswith(f"{AUTO}/"):
                self.find(f"{role}/0/any")

    def is_delegated(self, role: str) -> bool:
        """Whether the top-level targets delegate to a role (or it is theirs)."""
        delegations = self._set.targets.delegations
        roles = {} if delegations is None or delegations.roles is None else delegations.roles
        return role == Targets.type or role in roles

    def _top_level(self) -> Iterator[RoleVersion]:
        root = self._set.root
        yield RoleVersion(Root.type, root.version, frozenset(), 0)
        for name in ROLES[1:]:
            if name in self._set:
                yield self._of(name, root.roles[name].keyids, root.roles[name].threshold, root.keys)

    def _loaded_delegations(self) -> Iterator[RoleVersion]:
        delegations = self._set.targets.delegations if Targets.type in self._set else None
        if delegations is None:
            return
        for name, role in (delegations.roles or {}).items():
            if self._set.contains(name, Targets.type):
                yield self._of(name, role.keyids, role.threshold, delegations.keys)

    def _of(self, name: str, keyids: list[str], threshold: int, keys: Mapping[str, Key]) -> RoleVersion:
        signed = self._set[name]
        digest = ""
        if isinstance(signed, Targets):  # which may be signed anew for longer
            plain = signed.to_dict() | {"expires": ""}
            digest = hashlib.sha256(str(encode_canonical(plain)).encode()).hexdigest()
        return RoleVersion(name, signed.version, _fingerprints(keyids, keys), threshold, digest)


def open_repository(name: str, fetcher: FetcherInterface, root: bytes, folder: Path, base: str = _BASE) -> Repository:
    """Return a repository that trusts `root`, and fetches below `base`; `folder` is its own, and may hold older roots.

    Raises:
        DistrustedError: the root is none.
        OSError: the folder is not writable.
    """
    with translated(f"{name}: the pinned root"):
        updater = Updater(str(folder), base, fetcher=fetcher, config=_LIMITS, bootstrap=root)
        return Repository(name, folder, updater)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what python-tuf raises within into `DistrustedError`."""
    try:
        yield
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise DistrustedError(reason, f"{place}: {error}{cause}"[:500]) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        # python-tuf checks forms where it parses; what it lets through and cannot use then is malformed all the same.
        raise DistrustedError(Reason.MALFORMED, f"{place}: {type(error).__name__}: {error}"[:500]) from error


def _refuse_doubled_keys(keys: Mapping[str, Key]) -> None:
    """One key under two ids would count twice towards a threshold (python-tuf counts ids)."""
    found = [_fingerprint(key) for key in keys.values()]
    if len(set(found)) < len(found):
        raise ValueError("one key stands under two ids, and would count twice")


def _fingerprints(keyids: list[str], keys: Mapping[str, Key]) -> frozenset[str]:
    return frozenset(_fingerprint(keys[keyid]) for keyid in keyids if keyid in keys)


def _fingerprint(key: Key) -> str:
    """Name a key by what it is, not by the id that metadata gives it."""
    plain = encode_canonical({"keytype": key.keytype, "scheme": key.scheme, "keyval": key.keyval.get("public", "")})
    return hashlib.sha256(str(plain).encode()).hexdigest()


def _named(target: TargetFile) -> Named:
    return Named(target.path, target.length, target.hashes.get("sha256", ""), target.custom)
