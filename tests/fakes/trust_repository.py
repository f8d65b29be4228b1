"""A TUF repository in memory, which signs whatever it is told to: sound metadata, and every kind of unsound one."""

import copy
import datetime as dt
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge_agent.contract.messages import AgentSettings, DesiredBundle, Soak
from edge_agent.contract.trust import (
    ANY_HARDWARE,
    NOTE,
    DirectorNote,
    OrderNote,
    ReleaseNote,
    auto_paths,
    auto_role,
    note_plain,
    seal_pack,
    target_name,
)

FAR = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
ROLES = ("root", "timestamp", "snapshot", "targets")


def new_key() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


@dataclass
class FakeRepository:
    """One repository: change its parts, then `publish`; `files` is what a pack holds. Root is 2 of 3."""

    expires: dt.datetime = FAR
    files: dict[str, bytes] = field(default_factory=dict)
    delegated: dict[str, Targets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signers = {role: [new_key() for _ in range(3 if role == "root" else 1)] for role in ROLES}
        self.root = Root(version=1, expires=self.expires, consistent_snapshot=True)
        self.targets = Targets(version=1, expires=self.expires)
        self.snapshot = Snapshot(version=1, expires=self.expires)
        self.timestamp = Timestamp(version=1, expires=self.expires)
        for role, signers in self.signers.items():
            for signer in signers:
                self.root.add_key(signer.public_key, role)
        self.root.roles["root"].threshold = 2
        self.files["1.root.json"] = signed(self.root, self.signers["root"])
        self.publish(targets=1, snapshot=1, timestamp=1)

    @property
    def first_root(self) -> str:
        return self.files["1.root.json"].decode()

    def pack(self) -> bytes:
        return seal_pack(self.files)

    def publish_root(self, signers: Iterable[CryptoSigner] | None = None, version: int | None = None) -> None:
        """Sign the next root with the present root keys, or with others; `version` may be wrong on purpose."""
        number = self.root.version + 1
        self.root.version = number if version is None else version
        self.files[f"{number}.root.json"] = signed(self.root, self.signers["root"] if signers is None else signers)

    def rotate(self, role: str, *, sign_too: Iterable[CryptoSigner] = ()) -> list[CryptoSigner]:
        """Replace all keys of a role by a new root; return the old keys."""
        old = self.signers[role]
        for signer in old:
            self.root.revoke_key(signer.public_key.keyid, role)
        self.signers[role] = [new_key() for _ in old]
        for signer in self.signers[role]:
            self.root.add_key(signer.public_key, role)
        signers = [*old, *self.signers["root"]] if role == "root" else self.signers["root"]
        self.publish_root([*signers, *sign_too])
        return old

    def publish(
        self,
        *,
        targets: int | None = None,
        snapshot: int | None = None,
        timestamp: int | None = None,
        keys: dict[str, list[CryptoSigner]] | None = None,
    ) -> None:
        """Sign targets, snapshot and timestamp anew, each with its next version or the one given."""
        signers = self.signers | (keys or {})
        self.targets.version = self.targets.version + 1 if targets is None else targets
        self.snapshot.version = self.snapshot.version + 1 if snapshot is None else snapshot
        self.timestamp.version = self.timestamp.version + 1 if timestamp is None else timestamp
        self.files = {name: data for name, data in self.files.items() if name.endswith("root.json")}
        self.files[f"{self.targets.version}.targets.json"] = signed(self.targets, signers["targets"])
        self.snapshot.meta = {"targets.json": MetaFile(self.targets.version)}
        for role, held in self.delegated.items():
            self.files[f"{held.version}.{quote(role, safe='')}.json"] = signed(held, self.signers[role])
            self.snapshot.meta[f"{role}.json"] = MetaFile(held.version)
        self.seal(signers)

    def seal(self, signers: dict[str, list[CryptoSigner]] | None = None) -> None:
        """Sign snapshot and timestamp as they are, over what is there."""
        keys = signers or self.signers
        data = signed(self.snapshot, keys["snapshot"])
        self.files[f"{self.snapshot.version}.snapshot.json"] = data
        self.timestamp.snapshot_meta = MetaFile.from_data(self.snapshot.version, data, ["sha256"])
        self.files["timestamp.json"] = signed(self.timestamp, keys["timestamp"])

    def delegate(self, model: str, paths: list[str] | None = None) -> Targets:
        """Delegate what automatic retraining makes of a model; return the new role's targets."""
        role = auto_role(model)
        self.signers[role] = [new_key()]
        keys = {signer.public_key.keyid: signer.public_key for signer in self.signers[role]}
        made = DelegatedRole(role, list(keys), 1, True, paths=paths or [auto_paths(model)])
        if self.targets.delegations is None:
            self.targets.delegations = Delegations({}, {})
        self.targets.delegations.keys.update(keys)
        assert self.targets.delegations.roles is not None
        self.targets.delegations.roles[role] = made
        self.delegated[role] = Targets(version=1, expires=self.expires)
        return self.delegated[role]

    def edit(self, role: str, change: Callable[[dict[str, Any]], object], *, signature: bool = False) -> None:
        """Change a file's signed JSON (or, for `signature`, the whole), without signing it anew."""
        name = self.name_of(role)
        plain = json.loads(self.files[name])
        change(plain if signature else plain["signed"])
        self.files[name] = json.dumps(plain).encode()

    def name_of(self, role: str) -> str:
        """The name of a role's present file."""
        if role == "timestamp":
            return "timestamp.json"
        part = self.delegated[role] if role in self.delegated else getattr(self, role)
        return f"{part.version}.{quote(role, safe='')}.json"


def signed(part: Any, signers: Iterable[CryptoSigner]) -> bytes:
    metadata = Metadata(copy.deepcopy(part))
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def release(
    bundle: DesiredBundle, length: int = 100, hardware: tuple[str, ...] = (ANY_HARDWARE,), *, auto: bool = False
) -> TargetFile:
    """The image repository's target of a bundle."""
    note = ReleaseNote(bundle.model, bundle.version, bundle.variant, bundle.runtime, hardware)
    return _target(bundle, length, note, auto=auto)


def order(bundle: DesiredBundle, length: int = 100, hardware: str = "generic", *, auto: bool = False) -> TargetFile:
    """The director's target of a bundle."""
    note = OrderNote(
        bundle.model,
        bundle.version,
        bundle.variant,
        bundle.runtime,
        hardware,
        bundle.parcel,
        bundle.cohort,
        bundle.size,
        bundle.memory_mb,
        bundle.threshold,
    )
    return _target(bundle, length, note, auto=auto)


def _target(bundle: DesiredBundle, length: int, note: ReleaseNote | OrderNote, *, auto: bool) -> TargetFile:
    name = target_name(bundle.model, bundle.version, bundle.variant, auto=auto)
    return TargetFile(length, {"sha256": bundle.digest}, name, {"custom": note_plain(note)})


def put(targets: Targets, *files: TargetFile) -> None:
    """Set targets by their names."""
    targets.targets.update({file.path: file for file in files})


def write_order(
    director: FakeRepository,
    device: str,
    ts: int,
    *files: TargetFile,
    soak: Soak | None = None,
    settings: AgentSettings | None = None,
) -> None:
    """Set the whole order of a device."""
    director.targets.targets = {file.path: file for file in files}
    note = DirectorNote(device, ts, soak or Soak(), settings or AgentSettings())
    director.targets.unrecognized_fields[NOTE] = note_plain(note)
