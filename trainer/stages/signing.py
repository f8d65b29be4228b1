"""What people sign, without a network: the first roots, new versions, yanks, delegations, other keys.

House rules: what is signed was checked here first, and is returned so that it can be shown; everything is written to
the exchange folder, for the server to check again. Signatures by keys that are not here are added by others later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Root, Targets

from edge_agent.contract.exchange import Awaiting
from edge_agent.contract.trust import ANY_HARDWARE, DIRECTOR, IMAGE
from trainer.core import trust
from trainer.errors import ConfigurationError, RejectedError, UsageError
from trainer.stages.exchange import ExchangeFolder
from trainer.stages.release_keys import KeyFolder

_REPOSITORIES = (IMAGE, DIRECTOR)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which of the waiting bundles to sign: of one model, one version, or all; for which classes of boards.

    `built` are digests that were built here: where it is given, no other bundle is signed.
    """

    model: str | None = None
    version: int | None = None
    hardware: tuple[str, ...] = (ANY_HARDWARE,)
    built: frozenset[str] | None = None

    def covers(self, bundle: Awaiting) -> bool:
        """Whether a waiting bundle is wished for."""
        return not bundle.auto and self.model in (None, bundle.model) and self.version in (None, bundle.version)


@dataclass(frozen=True, slots=True)
class SignedRoot:
    """A root that was written: how many of the old and the new keys have signed it, of how many that must."""

    repository: str
    version: int
    signatures: int
    missing: int


def start_repositories(exchange: ExchangeFolder, keys: KeyFolder, now: datetime) -> list[SignedRoot]:
    """Make three root keys and a release key, the first root of both repositories, and targets without a bundle.

    Raises:
        UsageError: the server has a root already.
    """
    if exchange.held_root(IMAGE) is not None:
        raise UsageError("the server has a root already", "to change keys: trainer keys rotate")
    online = {repository: exchange.online_key(repository) for repository in _REPOSITORIES}
    roots = [keys.make("root")[1] for _ in range(trust.ROOT_KEYS)]
    release = keys.make("release")[1]
    for repository in _REPOSITORIES:
        held = trust.RootKeys([item.public_key for item in roots], [release.public_key], online[repository])
        made = Metadata(trust.make_root(repository, held, 1, now))
        for signer in roots:
            made.sign(signer, append=True)
        exchange.write(repository, "root", made)
    _write_targets(exchange, trust.make_targets(exchange.next_version(IMAGE, "targets"), now), [release])
    return [_state(exchange, repository) for repository in _REPOSITORIES]


def sign_bundles(exchange: ExchangeFolder, keys: KeyFolder, wish: Wish, now: datetime) -> list[Awaiting]:
    """List the waiting bundles that are wished for, after a check of each manifest; return what was signed.

    Raises:
        RejectedError: a manifest has another digest, or a bundle is not one that was built here.
        UsageError: nothing waits that is wished for.
    """
    chosen = [bundle for bundle in exchange.read().waiting if wish.covers(bundle)]
    if not chosen:
        raise UsageError("no bundle waits that this names", "see the list: edgeloop release list")
    targets = exchange.targets().signed
    for bundle in chosen:
        data, _ = exchange.manifest(bundle)
        if wish.built is not None and bundle.digest not in wish.built:
            raise RejectedError(
                f"{bundle.target} ({bundle.digest[:12]}…) is not among what was built here",
                "do not sign it: find out who registered it",
            )
        trust.add_bundle(targets, bundle, data, wish.hardware)
    _sign_targets(exchange, keys, targets, now)
    return chosen


def yank(
    exchange: ExchangeFolder, keys: KeyFolder, model: str, version: int, variant: str | None, now: datetime
) -> list[str]:
    """Take a version's bundles off the list; return the names of their targets.

    Raises:
        UsageError: none is listed.
    """
    targets = exchange.targets().signed
    names = trust.take_away(targets, model, version, variant)
    _sign_targets(exchange, keys, targets, now)
    return names


def renew_targets(exchange: ExchangeFolder, keys: KeyFolder, now: datetime) -> int:
    """Sign the same list again for a whole lifetime, above what devices hold; return its number."""
    targets = exchange.targets().signed
    _sign_targets(exchange, keys, targets, now)
    return targets.version


def change_delegation(
    exchange: ExchangeFolder, keys: KeyFolder, model: str, delegates: Sequence[Key], now: datetime
) -> None:
    """Let these keys sign what automatic retraining makes of a model; without any, nobody any more.

    Raises:
        UsageError: there is nothing to take away.
    """
    targets = exchange.targets().signed
    if delegates:
        trust.delegate(targets, model, delegates)
    elif not trust.revoke(targets, model):
        raise UsageError(f"nobody signs automatic versions of {model}")
    _sign_targets(exchange, keys, targets, now)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Which keys change: the release keys, the server's online keys (to those that it shows now), one root key."""

    release: bool = False
    online: bool = False
    root: str | None = None


def rotate(exchange: ExchangeFolder, keys: KeyFolder, wish: Rotation, now: datetime) -> list[SignedRoot]:
    """Make the next root of both repositories with other keys (or the same, for a whole lifetime), and sign it.

    With another release key the targets are signed anew by it. Private keys are made, never deleted.

    Raises:
        UsageError: there is no root key of the name that is to change.
    """
    old = {repository: exchange.root(repository) for repository in _REPOSITORIES}
    image = old[IMAGE].signed
    roots = trust.keys_of(image, "root")
    if wish.root is not None:
        gone = keys.read().keys.get(wish.root)
        if gone is None or gone.key().keyid not in {key.keyid for key in roots}:
            raise UsageError(f"no root key of the present root is called {wish.root!r}", "trainer keys show KEYS")
        roots = [key for key in roots if key.keyid != gone.key().keyid] + [keys.make("root")[1].public_key]
    release = [keys.make("release")[1].public_key] if wish.release else trust.keys_of(image, "targets")
    for repository, before in old.items():
        online = exchange.online_key(repository) if wish.online else trust.keys_of(before.signed, "timestamp")[0]
        made = trust.make_root(
            repository, trust.RootKeys(roots, release, online), exchange.next_version(repository, "root"), now
        )
        _sign_root(exchange, keys, repository, Metadata(made))
    if wish.release:
        _sign_targets(exchange, keys, exchange.targets().signed, now)
    return [_state(exchange, repository) for repository in _REPOSITORIES]


def cosign(exchange: ExchangeFolder, keys: KeyFolder) -> list[SignedRoot]:
    """Add the signatures of the root keys that are here to the roots that wait."""
    for repository in _REPOSITORIES:
        _sign_root(exchange, keys, repository, exchange.root(repository))
    return [_state(exchange, repository) for repository in _REPOSITORIES]


def built_digests(folders: Sequence[Path]) -> frozenset[str]:
    """Return the digests of the bundles in version folders, as their manifests say by their own bytes."""
    from edge_agent.contract.artifacts import sha256
    from edge_agent.contract.manifest import MANIFEST_NAME

    found: set[str] = set()
    for folder in folders:
        manifests = sorted(folder.glob(f"variants/*/{MANIFEST_NAME}"))
        if not manifests:
            raise UsageError(f"{folder} is no version folder: no bundle is in it", "give what trainer fit wrote")
        found |= {sha256(path.read_bytes()) for path in manifests}
    return frozenset(found)


def _sign_root(exchange: ExchangeFolder, keys: KeyFolder, repository: str, made: Metadata[Root]) -> None:
    held = exchange.held_root(repository)
    wanted = set(made.signed.roles["root"].keyids) | (set() if held is None else set(held.signed.roles["root"].keyids))
    for signer in keys.signers(frozenset(wanted)).values():
        made.sign(signer, append=True)
    exchange.write(repository, "root", made)


def _state(exchange: ExchangeFolder, repository: str) -> SignedRoot:
    made, held = exchange.root(repository), exchange.held_root(repository)
    previous = None if held is None else held.signed
    result = made.signed.get_root_verification_result(previous, made.signed_bytes, made.signatures)
    missing = max(result.first.missing, result.second.missing)
    return SignedRoot(repository, made.signed.version, len(result.signed), missing)


def _sign_targets(exchange: ExchangeFolder, keys: KeyFolder, targets: Targets, now: datetime) -> None:
    role = exchange.root(IMAGE).signed.roles["targets"]
    signers = list(keys.signers(frozenset(role.keyids)).values())
    if len(signers) < role.threshold:
        raise ConfigurationError(
            "the release key that the root names is not in this folder", "give the folder that holds it: --keys KEYS"
        )
    trust.renew(targets, exchange.next_version(IMAGE, "targets"), now)
    _write_targets(exchange, targets, signers)


def _write_targets(exchange: ExchangeFolder, targets: Targets, signers: Sequence[Signer]) -> None:
    made = Metadata(targets)
    for signer in signers:
        made.sign(signer, append=True)
    exchange.write(IMAGE, "targets", made)
