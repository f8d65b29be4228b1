"""What is written down about releases: pushes for the audit log and the events, and warnings of what will expire."""

from collections.abc import Mapping

from sqlalchemy import Connection
from tuf.api.metadata import Metadata, Root, Targets

from edge_agent.contract.trust import IMAGE
from fleet_server.core.releases import REPOSITORIES, Accepted, Bundle, Listed
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.events import record_event
from fleet_server.services.image_metadata import moment, names_key
from fleet_server.services.online_keys import OnlineKeys
from fleet_server.store import releases
from fleet_server.store.events import StoredEvent

_WARN_DAYS = 30
_TOP = "targets"


def record_push(
    connection: Connection,
    accepted: Accepted,
    before: tuple[Mapping[str, bytes], Mapping[str, Listed]],
    author: str,
    now: int,
) -> None:
    """Record the roots, targets and delegations of a push; `before` are the roles and the list that were held."""
    roles, listed = before
    for (repository, version), data in accepted.roots.items():
        keys = {role: list(item.keyids) for role, item in Metadata[Root].from_bytes(data).signed.roles.items()}
        record_audit(connection, now, author, "root_pushed", f"{repository}/{version}", keys)
    for role, data in accepted.roles.items():
        if roles.get(role) != data:
            version = Metadata[Targets].from_bytes(data).signed.version
            record_audit(
                connection, now, author, "targets_pushed", f"{role}/{version}", {"listed": len(accepted.listed)}
            )
    held, made = _delegations(roles), _delegations(accepted.roles)
    for role in sorted(held.keys() | made.keys()):
        if held.get(role) != made.get(role):
            action = "delegation_made" if role in made else "delegation_revoked"
            record_audit(connection, now, author, action, role, {"keys": made.get(role, [])})
    for name, item in accepted.listed.items():
        if name not in listed:
            said = {"digest": item.bundle.digest, "hardware": list(item.hardware), "by": item.role}
            record_audit(connection, now, author, "bundle_signed", name, said)


def announce_signed(
    connection: Connection, added: Mapping[str, Bundle], announcer: Announcer, author: str, now: int
) -> None:
    """Record an event for each version that was signed."""
    for model, version in sorted({(bundle.model, bundle.version) for bundle in added.values()}):
        event = StoredEvent(
            now, "server", "version_signed", f"pushed by {author}", model=model, fields={"version": str(version)}
        )
        record_event(connection, event, announcer)


def warn_of_releases(connection: Connection, keys: OnlineKeys, announcer: Announcer, now: int) -> None:
    """Announce what people must sign again: what expires within a month, and roots that name other online keys."""
    for repository, signer in zip(REPOSITORIES, (keys.image, keys.director), strict=True):
        root = releases.newest_root(connection, repository)
        if root is None:
            continue
        signed = Metadata[Root].from_bytes(root.body.encode()).signed
        _warn(connection, announcer, now, f"the root of the {repository} repository", signed, "trainer keys rotate")
        if not names_key(root.body.encode(), signer):
            detail = (
                f"the root of the {repository} repository names another online key than this server holds, so nothing "
                "new reaches devices: edgeloop release fetch FOLDER, trainer keys rotate FOLDER --online, "
                "edgeloop release push FOLDER"
            )
            key = f"online_key_differs/{signer.public_key.keyid[:16]}/{root.version}"
            record_event(connection, StoredEvent(now, "server", "online_key_differs", detail, key=key), announcer)
    top = releases.find_file(connection, IMAGE, _TOP)
    if top is not None:
        signed_top = Metadata[Targets].from_bytes(top.body.encode()).signed
        _warn(connection, announcer, now, "the list of signed bundles", signed_top, "trainer sign --renew")


def _warn(
    connection: Connection, announcer: Announcer, now: int, what: str, signed: Root | Targets, command: str
) -> None:
    if (signed.expires - moment(now)).days < _WARN_DAYS:
        detail = (
            f"{what} expires on {signed.expires:%Y-%m-%d}; devices take nothing new after that: "
            f"edgeloop release fetch FOLDER, {command}, edgeloop release push FOLDER"
        )
        key = f"release_expires/{what}/{signed.version}"
        record_event(connection, StoredEvent(now, "server", "release_expires", detail, key=key), announcer)


def _delegations(roles: Mapping[str, bytes]) -> dict[str, list[str]]:
    if _TOP not in roles:
        return {}
    found = Metadata[Targets].from_bytes(roles[_TOP]).signed.delegations
    delegated = {} if found is None or found.roles is None else found.roles
    return {name: list(role.keyids) for name, role in delegated.items()}
