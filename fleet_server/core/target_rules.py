"""Which targets the image repository may list: bundles that are registered here, by the name that they have here.

House rules: a name that was listed keeps its digest, and one that was taken away never returns; a delegated role signs
what automatic retraining made of its model, and nothing else. Source: TUF specification 1.0.34, section 5.6.
"""

from collections.abc import Mapping
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from edge_agent.contract import codec
from edge_agent.contract.trust import AUTO, ReleaseNote, auto_paths, auto_role
from fleet_server.core.releases import Held, Listed, PushRefusedError, check_lifetime, parse_metadata

TOP = "targets"


def judge_targets(
    held: Held, root: Root, fresh: Mapping[str, tuple[int, bytes]], now: datetime
) -> tuple[dict[str, bytes], dict[str, Listed]]:
    """Return the image repository's roles with those that came (by role: version and bytes), and what they list.

    Raises:
        PushRefusedError: one of them is not as it must be.
    """
    roles = {**held.roles, **{role: data for role, (_, data) in fresh.items()}}
    if TOP not in roles:
        raise PushRefusedError("there are no targets: `trainer keys init` makes the first")
    top = _judge_role(held, root, TOP, roles[TOP], fresh, now)
    listed = _list(held, top, TOP)
    kept = {TOP: roles[TOP]}
    delegated = _delegations(held, top)
    for role in roles.keys() - {TOP}:
        if role not in delegated:
            if role in fresh:
                raise PushRefusedError(f"nobody delegated {role}: `trainer delegate`")
            continue  # revoked: its list goes with it
        listed |= _list(held, _judge_role(held, top, role, roles[role], fresh, now), role)
        kept[role] = roles[role]
    return kept, listed


def _judge_role(
    held: Held,
    delegator: Root | Targets,
    role: str,
    data: bytes,
    fresh: Mapping[str, tuple[int, bytes]],
    now: datetime,
) -> Targets:
    """Verify a role by whoever delegates to it; what was held is verified again, since its keys may be others now."""
    at = f"{role}.json"
    found: Metadata[Targets] = parse_metadata(Targets, data, at)
    try:
        delegator.verify_delegate(role, found.signed_bytes, found.signatures)
    except (RepositoryError, ValueError) as error:
        raise PushRefusedError(f"{at} is not signed by the keys that may: {error}") from error
    if role in fresh:
        named, last = fresh[role][0], held.roles.get(role)
        before = 0 if last is None else parse_metadata(Targets, last, at).signed.version
        highest = 1 + (max(before, held.floor) if role == TOP else before)
        version = found.signed.version
        if version != named or not before < version <= highest:
            raise PushRefusedError(f"{at} is version {version} in a file of version {named}, the next is {highest}")
        check_lifetime(found.signed, now, at)
    return found.signed


def _delegations(held: Held, top: Targets) -> set[str]:
    """Return the delegated roles, each of which may sign automatic versions of its model alone."""
    if top.delegations is None:
        return set()
    if top.delegations.roles is None:
        raise PushRefusedError("the targets delegate by hash bins, which means nothing here")
    for name, role in top.delegations.roles.items():
        model = name.removeprefix(f"{AUTO}/")
        try:
            right = name == auto_role(model) and role.paths == [auto_paths(model)] and role.terminating
        except ValueError as error:
            raise PushRefusedError(f"the delegation {name!r}: {error}") from error
        if not right:
            raise PushRefusedError(f"the delegation {name!r} is not one of automatic versions of a model alone")
        if role.threshold < 1 or set(role.keyids) & set(held.online.values()):
            raise PushRefusedError(f"the delegation {name!r} is given to a key of the server itself")
    return set(top.delegations.roles)


def _list(held: Held, targets: Targets, role: str) -> dict[str, Listed]:
    if role != TOP and targets.delegations is not None:
        raise PushRefusedError(f"{role} delegates further, which nothing here means")
    return {name: _judge_target(held, name, target, role) for name, target in targets.targets.items()}


def _judge_target(held: Held, name: str, target: TargetFile, role: str) -> Listed:
    if name in held.yanked:
        raise PushRefusedError(f"{name} was yanked, and does not return: register it as a newer version")
    bundle = held.bundles.get(name)
    if bundle is None:
        raise PushRefusedError(f"{name} in {role} is no bundle that is registered here")
    if bundle.auto != (role != TOP) or (bundle.auto and role != auto_role(bundle.model)):
        raise PushRefusedError(f"{name} is not for {role} to sign")
    if target.hashes != {"sha256": bundle.digest} or target.length != bundle.length:
        raise PushRefusedError(f"{name} has another digest or length than the bundle that is registered here")
    try:
        note = codec.from_plain(ReleaseNote, target.custom, unknown="refuse", at=f"{name}: custom")
    except ValueError as error:
        raise PushRefusedError(str(error)) from error
    said = (note.model, note.version, note.variant, note.runtime.value)
    if said != (bundle.model, bundle.version, bundle.variant, bundle.runtime) or not note.hardware:
        raise PushRefusedError(f"{name}: what is said of it is not what it is")
    return Listed(bundle, note.hardware, role)
