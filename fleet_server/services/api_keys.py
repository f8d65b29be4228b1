"""API keys: made for one purpose each, with a role, a scope and an end; shown and revoked."""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection

from edge_agent.contract.topics import check_name
from fleet_server.core.permissions import EVERYTHING, Role, Scope
from fleet_server.services.audit import record_audit
from fleet_server.services.auth import hash_secret
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.store import access, users
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError
from fleet_server.store.pages import Page, PageRequest

# Actors of the audit log that are nobody's name.
RESERVED = frozenset({"controller", "server", "builder"})
_SECRET_BYTES = 32
_MAX_TTL_S = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a new key is to be; `ttl_s` in seconds, None without an end."""

    name: str
    role: Role
    scope: Scope = EVERYTHING
    ttl_s: int | None = None


class ApiKeys:
    """Makes, shows and revokes keys."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def make_operator_key(self) -> str:
        """Make the key of whoever started this server, with all rights, and return its text."""
        with self._database.write() as connection:
            text, key = _draft(KeyRequest("operator", Role.ADMIN), "server", self._clock())
            access.insert_key(connection, key)
            record_audit(connection, key.created, "server", "key_made", key.id, {"name": key.label, "role": key.role})
        return text

    def make(self, request: KeyRequest, actor: str) -> tuple[access.ApiKey, str]:
        """Make a key; return it, and its text, which is not stored.

        Raises:
            InvalidError: the name, the scope or the time is malformed.
            ConflictError: a key or a user has this name: the audit log must say who did what.
        """
        _check(request)
        text, key = _draft(request, actor, self._clock())
        with self._database.write() as connection:
            refuse_taken_name(connection, request.name)
            access.insert_key(connection, key)
            detail = {"name": key.label, "role": key.role, "scope": dict(key.scope), "expires": key.expires}
            record_audit(connection, key.created, actor, "key_made", key.id, detail)
        return key, text

    def list_keys(self, request: PageRequest) -> Page[access.ApiKey]:
        """Return one page of the keys, the revoked ones among them."""
        with self._database.read() as connection:
            return access.page_keys(connection, request)

    def revoke(self, key: str, actor: str) -> None:
        """Revoke a key, and end the sessions that it opened.

        Raises:
            NotFoundError: there is none of this id.
        """
        now = self._clock()
        with self._database.write() as connection:
            found = access.get_key(connection, key)
            access.revoke_key(connection, key, now)
            record_audit(connection, now, actor, "key_revoked", key, {"name": found.label})


def refuse_taken_name(connection: Connection, name: str) -> None:
    """Let a new name pass.

    Raises:
        ConflictError: a key (a revoked one too) or a user has it.
    """
    if access.is_key_label(connection, name) or users.find_user(connection, name) is not None:
        raise ConflictError(f"a key or a user is named {name!r} already, and the audit log tells them apart by name")


def check_own_name(name: str) -> None:
    """Let the name of a user or a key pass.

    Raises:
        InvalidError: it is malformed, or means a part of the server.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise InvalidError(str(error)) from error
    if name in RESERVED:
        raise InvalidError(f"the name {name!r} means a part of the server")


def _check(request: KeyRequest) -> None:
    check_own_name(request.name)
    if request.ttl_s is not None and not 1 <= request.ttl_s <= _MAX_TTL_S:
        raise InvalidError(f"ttl_s is 1 to {_MAX_TTL_S}")
    try:
        for name in (*(request.scope.groups or ()), *(request.scope.models or ())):
            check_name(name)
    except ValueError as error:
        raise InvalidError(f"scope: {error}") from error


def _draft(request: KeyRequest, author: str, now: int) -> tuple[str, access.ApiKey]:
    text = "ek_" + secrets.token_urlsafe(_SECRET_BYTES)
    limits = {"groups": request.scope.groups, "models": request.scope.models}
    key = access.ApiKey(
        id="key-" + secrets.token_hex(6),
        hash=hash_secret(text),
        label=request.name,
        created=now,
        role=request.role,
        scope={kind: sorted(names) for kind, names in limits.items() if names is not None},
        author=author,
        expires=None if request.ttl_s is None else now + request.ttl_s * 1000,
    )
    return text, key
