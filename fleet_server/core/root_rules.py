"""Which new roots are taken: each signed by the old and by the new root keys, and naming this server's online keys.

House rules: a root never grows weaker: 2 root keys at least must sign, the online keys are this server's own and sign
no more than they must, and the same people hold the root of both repositories.
Source: TUF specification 1.0.34, section 5.3; Uptane standard 2.1.0, section 5.3 (roles of the two repositories).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from edge_agent.contract.trust import DIRECTOR, IMAGE
from fleet_server.core.releases import (
    ONLINE_ROLES,
    REPOSITORIES,
    Held,
    PushRefusedError,
    check_lifetime,
    parse_metadata,
)

LEAST_ROOT_THRESHOLD = 2


def judge_roots(held: Held, fresh: Mapping[tuple[str, int], bytes], now: datetime) -> dict[str, Root]:
    """Return the newest root of both repositories with those that came, by (repository, version).

    Raises:
        PushRefusedError: one of them is not as it must be.
    """
    newest: dict[str, Root] = {}
    for repository in REPOSITORIES:
        came = [(version, fresh[name, version]) for name, version in sorted(fresh) if name == repository]
        newest[repository] = _walk(held.roots.get(repository), repository, came)
        at = f"the root of the {repository} repository"
        if came:
            check_lifetime(newest[repository], now, at)
        _check_roles(newest[repository], repository, held.online, at)
    if set(newest[IMAGE].roles["root"].keyids) != set(newest[DIRECTOR].roles["root"].keyids):
        raise PushRefusedError("the two repositories would have different root keys: push both roots together")
    return newest


def _walk(held: bytes | None, repository: str, came: Sequence[tuple[int, bytes]]) -> Root:
    """Follow the chain of roots, each step signed by both ends."""
    last = None if held is None else parse_metadata(Root, held, f"the held root of {repository}").signed
    for version, data in came:
        at = f"{repository}/{version}.root.json"
        found = parse_metadata(Root, data, at)
        expected = 1 if last is None else last.version + 1
        if found.signed.version != version or version != expected:
            raise PushRefusedError(f"{at} is version {found.signed.version}, the next is {expected}")
        for by, root in (("the root before it", last), ("itself", found.signed)):
            if root is not None:
                _verify(root, found, at, by)
        last = found.signed
    if last is None:
        raise PushRefusedError(f"there is no root of the {repository} repository: `trainer keys init` makes it")
    return last


def _verify(root: Root, found: Metadata[Root], at: str, by: str) -> None:
    try:
        root.verify_delegate("root", found.signed_bytes, found.signatures)
    except (RepositoryError, ValueError) as error:
        raise PushRefusedError(f"{at} is not signed as {by} asks: {error}") from error


def _check_roles(root: Root, repository: str, online: Mapping[str, str], at: str) -> None:
    if not root.consistent_snapshot:
        raise PushRefusedError(f"{at} does not ask for consistent snapshots")
    if root.roles["root"].threshold < LEAST_ROOT_THRESHOLD:
        raise PushRefusedError(f"{at} could be signed by one person: {LEAST_ROOT_THRESHOLD} must")
    for role in ONLINE_ROLES[repository]:
        if set(root.roles[role].keyids) != {online[repository]}:
            raise PushRefusedError(
                f"{at} names another key for its {role} than this server holds: "
                "fetch again, then `trainer keys rotate --online`"
            )
    offline = {"root", "targets"} - ONLINE_ROLES[repository]
    for role in offline:
        if set(root.roles[role].keyids) & set(online.values()):
            raise PushRefusedError(f"{at} gives the {role} role to a key that lies on this server")
