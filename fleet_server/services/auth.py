"""Who may use the API: keys, browser sessions, and the one-time codes that open them.

House rules: secrets are random and 32 bytes long, so a plain SHA-256 of them is what is stored; the text of a secret
leaves once. A session has no rights of its own: each request asks what its user or key may do now.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection

from fleet_server.core.permissions import EVERYTHING, Permission, Role, Scope, judge_permission, judge_scope
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import DeniedError
from fleet_server.store import access, users
from fleet_server.store.database import Database
from fleet_server.store.pages import Page, PageRequest

SESSION_MS = 7 * 24 * 3600 * 1000
IDLE_MS = 12 * 3600 * 1000
CODE_MS = 15 * 60 * 1000
# How exactly it is known when a key or a session was last used: each request would be a write otherwise.
_SEEN_MS = 60 * 1000
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user or a key by name, with the role and the scope that it has now.

    `session` is the id of the browser's session that it came by, where it did.
    """

    name: str
    role: Role
    scope: Scope = EVERYTHING
    user: str | None = None
    key: str | None = None
    session: str | None = None

    @property
    def identity(self) -> str:
        """What is one and the same however it comes: `user:NAME` or `key:ID`."""
        return f"user:{self.user}" if self.user is not None else f"key:{self.key}"

    def require(self, permission: Permission) -> None:
        """Let this pass.

        Raises:
            DeniedError: the role does not have the permission.
        """
        if (reason := judge_permission(self.role, permission)) is not None:
            raise DeniedError(reason)

    def require_within(self, *, group: str | None = None, model: str | None = None) -> None:
        """Let a change of this group and this model pass.

        Raises:
            DeniedError: it is outside of the scope.
        """
        if (reason := judge_scope(self.scope, group, model)) is not None:
            raise DeniedError(reason)


def hash_secret(text: str) -> str:
    """Return what is stored of a secret."""
    return sha256(text.encode()).hexdigest()


def read_scope(key: access.ApiKey) -> Scope:
    """Return a stored key's scope."""
    groups, models = key.scope.get("groups"), key.scope.get("models")
    return Scope(None if groups is None else frozenset(groups), None if models is None else frozenset(models))


class Auth:
    """Checks keys and sessions; makes, shows and ends sessions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # When each key (by id) and session (by hash) was last used: saved apart, so that reading never waits to write.
        self._used: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def check_key(self, text: str) -> Principal | None:
        """Return who holds this key, or None where it is unknown, revoked or expired."""
        now = self._clock()
        with self._database.read() as connection:
            key = access.find_key(connection, hash_secret(text))
        if key is None or not _holds(key, now):
            return None
        if now - (key.used or 0) >= _SEEN_MS:
            self._used[key.id] = now
        return _principal_of(key)

    def make_code(self, asker: Principal) -> str:
        """Make a sign-in code that opens a session of the asker, once within 15 minutes, and return its text."""
        text, now = secrets.token_urlsafe(_SECRET_BYTES), self._clock()
        code = access.SigninCode(hash_secret(text), asker.user, asker.key, now + CODE_MS)
        with self._database.write() as connection:
            access.insert_code(connection, code, now)
        return text

    def open_session(self, code: str, address: str = "") -> str:
        """Use a sign-in code up and return the text of a new session.

        Raises:
            DeniedError: the code is unknown, used or too old.
        """
        now = self._clock()
        with self._database.write() as connection:
            held = access.use_code(connection, hash_secret(code), now)
            owner = None if held is None else _find_owner(connection, held.owner_user, held.owner_key, now)
            if owner is not None:
                return begin_session(connection, owner, now, address, "link")
        raise DeniedError(
            "this sign-in link was used already, or is older than 15 minutes; `edgeloop signin` makes a new one"
        )

    def check_session(self, text: str) -> Principal | None:
        """Return who holds this session, or None where it is unknown, too old, or unused for too long."""
        now = self._clock()
        with self._database.read() as connection:
            found = access.find_session(connection, hash_secret(text))
            if found is None or found.expires <= now or now - self._last_seen(found) >= IDLE_MS:
                return None
            owner = _find_owner(connection, found.owner_user, found.owner_key, now, found.id)
        if owner is not None and now - found.seen >= _SEEN_MS:
            self._seen[found.hash] = now
        return owner

    def save_uses(self) -> None:
        """Save when keys and sessions were last used; each is written once a minute at most.

        Raises:
            UnavailableError: the database cannot be written now; it is kept for the next time.
        """
        used, seen = dict(self._used), dict(self._seen)
        if not used and not seen:
            return
        with self._database.write() as connection:
            for key, at in used.items():
                access.save_key_used(connection, key, at)
            for session, at in seen.items():
                access.save_session_seen(connection, session, at)
        for kept, saved in ((self._used, used), (self._seen, seen)):
            for name, at in saved.items():
                if kept.get(name) == at:
                    kept.pop(name, None)

    def holds(self, asker: Principal) -> bool:
        """Whether who asked a while ago may still do the same: neither revoked, expired, signed out nor changed."""
        now = self._clock()
        with self._database.read() as connection:
            if asker.session is not None:
                session = access.find_session_by_id(connection, asker.session)
                if session is None or session.expires <= now:
                    return False
            return _find_owner(connection, asker.user, asker.key, now, asker.session) == asker

    def list_sessions(self, request: PageRequest) -> Page[access.Session]:
        """Return one page of the open sessions."""
        with self._database.read() as connection:
            return access.page_sessions(connection, request, self._clock())

    def end_session(self, session: str, actor: str) -> None:
        """End a session.

        Raises:
            NotFoundError: there is none of this id.
        """
        now = self._clock()
        with self._database.write() as connection:
            ended = access.delete_session(connection, session)
            owner = ended.owner_user or ended.owner_key or ""
            record_audit(connection, now, actor, "session_ended", ended.id, {"of": owner})

    def _last_seen(self, session: access.Session) -> int:
        return max(session.seen, self._seen.get(session.hash, 0))


def begin_session(connection: Connection, owner: Principal, now: int, address: str, by: str) -> str:
    """Open a session of a user or a key (`by` link or password), record it, and return its text."""
    text, identity = secrets.token_urlsafe(_SECRET_BYTES), "ses-" + secrets.token_hex(6)
    session = access.Session(hash_secret(text), identity, owner.user, owner.key, now, now, now + SESSION_MS, address)
    access.insert_session(connection, session)
    record_audit(connection, now, owner.name, "signed_in", identity, {"by": by, "address": address})
    return text


def _holds(key: access.ApiKey, now: int) -> bool:
    return key.revoked is None and (key.expires is None or key.expires > now)


def _principal_of(key: access.ApiKey, session: str | None = None) -> Principal:
    return Principal(key.label, Role(key.role), read_scope(key), key=key.id, session=session)


def _find_owner(
    connection: Connection, user: str | None, key: str | None, now: int, session: str | None = None
) -> Principal | None:
    if user is not None:
        found = users.find_user(connection, user)
        return None if found is None else Principal(user, Role(found.role), user=user, session=session)
    if key is None:
        return None
    held = access.get_key(connection, key)
    return _principal_of(held, session) if _holds(held, now) else None
