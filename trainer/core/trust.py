"""Trust metadata as values: the roots of both repositories and the image repository's targets, made and changed.

House rules: nothing is signed here and nothing is read; versions and times are arguments. What a server takes of it is
the server's own rule. Source: TUF specification 1.0.34, sections 4.3 (root) and 4.5 (targets and delegations).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Root, TargetFile, Targets

from edge_agent.contract.exchange import Awaiting
from edge_agent.contract.trust import DIRECTOR, IMAGE, ReleaseNote, auto_paths, auto_role, note_plain
from trainer.errors import RejectedError, UsageError

ROOT_THRESHOLD = 2
ROOT_KEYS = 3
ROOT_LIFETIME = timedelta(days=365)
TARGETS_LIFETIME = timedelta(days=365)
# Which roles the server's online key of a repository signs; the image repository's targets are the release key's.
ONLINE_ROLES: Mapping[str, tuple[str, ...]] = {
    IMAGE: ("snapshot", "timestamp"),
    DIRECTOR: ("targets", "snapshot", "timestamp"),
}


@dataclass(frozen=True, slots=True)
class RootKeys:
    """Who signs what in a repository: root keys, the release keys (image only), the server's online key."""

    root: Sequence[Key]
    release: Sequence[Key]
    online: Key


def make_root(repository: str, keys: RootKeys, version: int, now: datetime) -> Root:
    """Return a root of a repository that names exactly these keys."""
    made = Root(version=version, expires=_whole(now + ROOT_LIFETIME), consistent_snapshot=True)
    for key in keys.root:
        made.add_key(key, "root")
    made.roles["root"].threshold = ROOT_THRESHOLD
    for role in ONLINE_ROLES[repository]:
        made.add_key(keys.online, role)
    for key in keys.release if repository == IMAGE else ():
        made.add_key(key, "targets")
    return made


def keys_of(root: Root, role: str) -> list[Key]:
    """Return the keys of a role."""
    return [root.keys[keyid] for keyid in root.roles[role].keyids]


def make_targets(version: int, now: datetime) -> Targets:
    """Return targets without a bundle."""
    return Targets(version=version, expires=_whole(now + TARGETS_LIFETIME))


def renew(targets: Targets, version: int, now: datetime) -> None:
    """Give targets a number and a whole lifetime."""
    targets.version, targets.expires = version, _whole(now + TARGETS_LIFETIME)


def add_bundle(targets: Targets, bundle: Awaiting, manifest: bytes, hardware: Sequence[str]) -> None:
    """List a bundle; its manifest is what is signed, so that everything that the manifest names is signed with it.

    Raises:
        RejectedError: another bundle is listed by that name.
    """
    note = ReleaseNote(bundle.model, bundle.version, bundle.variant, bundle.runtime, tuple(hardware))
    made = TargetFile.from_data(bundle.target, manifest, ["sha256"])
    made.unrecognized_fields["custom"] = note_plain(note)
    known = targets.targets.get(bundle.target)
    if known is not None and known.hashes != made.hashes:
        raise RejectedError(f"{bundle.target} is signed already, with another digest", "register it as a newer version")
    targets.targets[bundle.target] = made


def take_away(targets: Targets, model: str, version: int, variant: str | None) -> list[str]:
    """Take a version's bundles (or one variant's) off the list; return the names that were there.

    Raises:
        UsageError: none of them is listed.
    """
    prefix = f"{model}/{version}/"
    found = [name for name in targets.targets if name.startswith(prefix) and variant in (None, name[len(prefix) :])]
    if not found:
        what = f"{model} version {version}" + ("" if variant is None else f" {variant}")
        raise UsageError(f"{what} is not signed", "see the list: edgeloop release list")
    for name in found:
        del targets.targets[name]
    return found


def delegate(targets: Targets, model: str, keys: Iterable[Key]) -> None:
    """Let keys sign what automatic retraining makes of a model: names below `auto/MODEL/`, and no other."""
    revoke(targets, model)
    name = auto_role(model)
    if targets.delegations is None or targets.delegations.roles is None:
        targets.delegations = Delegations({}, {})
    roles = targets.delegations.roles
    if roles is None:
        raise RejectedError("these targets delegate by hash bins, which is not done here")
    roles[name] = DelegatedRole(name, [], 1, terminating=True, paths=[auto_paths(model)])
    for key in keys:
        targets.add_key(key, name)


def revoke(targets: Targets, model: str) -> bool:
    """Take a model's delegation away; return whether there was one."""
    name = auto_role(model)
    if targets.delegations is None or name not in (targets.delegations.roles or {}):
        return False
    for keyid in list(targets.get_delegated_role(name).keyids):
        targets.revoke_key(keyid, name)
    del (targets.delegations.roles or {})[name]
    if not targets.delegations.roles:
        targets.delegations = None
    return True


def _whole(time: datetime) -> datetime:
    """TUF writes times without fractions of a second."""
    return time.replace(microsecond=0)
