"""Who may use the API: keys, sessions and one-time sign-in codes, all by SHA-256; and the server's settings.

A session and a code belong to a user or to a key, and end with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Connection, ForeignKey, String, Table, delete, insert, select, update

from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import metadata, settings
from fleet_server.store.users import users


def _owner() -> tuple[Column[str], Column[str]]:
    return (
        Column("owner_user", String(64), ForeignKey(users.c.name, ondelete="CASCADE"), index=True),
        Column("owner_key", String(32), ForeignKey("api_keys.id", ondelete="CASCADE"), index=True),
    )


api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("label", String(100), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("role", String(16), nullable=False, server_default="admin"),
    Column("scope", JSON(none_as_null=True), nullable=False, server_default="{}"),
    Column("author", String(100), nullable=False, server_default=""),
    Column("expires", BigInteger),
    Column("used", BigInteger),
    Column("revoked", BigInteger),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    *_owner(),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
)

signin_codes = Table(
    "signin_codes",
    metadata,
    Column("hash", String(64), primary_key=True),
    *_owner(),
    Column("expires", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, by its hash; `scope` has `groups` and `models` where it is limited to some; times in epoch ms."""

    id: str
    hash: str
    label: str
    created: int
    role: str
    scope: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    expires: int | None = None
    used: int | None = None
    revoked: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; it ends at `expires`, or when it was not `seen` for long; times in epoch ms."""

    hash: str
    id: str
    owner_user: str | None
    owner_key: str | None
    created: int
    seen: int
    expires: int
    address: str


@dataclass(frozen=True, slots=True)
class SigninCode:
    """A one-time sign-in code of a user or a key."""

    hash: str
    owner_user: str | None
    owner_key: str | None
    expires: int


_read_key = reader(ApiKey)
_read_session = reader(Session)
_read_code = reader(SigninCode)


def insert_key(connection: Connection, key: ApiKey) -> None:
    """Add a key."""
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            hash=key.hash,
            label=key.label,
            created=key.created,
            role=key.role,
            scope=dict(key.scope),
            author=key.author,
            expires=key.expires,
        )
    )


def find_key(connection: Connection, key_hash: str) -> ApiKey | None:
    """Return the key with this hash, or None."""
    row = connection.execute(select(api_keys).where(api_keys.c.hash == key_hash)).one_or_none()
    return None if row is None else _read_key(row)


def get_key(connection: Connection, key: str) -> ApiKey:
    """Return the key with this id.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(api_keys).where(api_keys.c.id == key)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no key {key!r}")
    return _read_key(row)


def is_key_label(connection: Connection, label: str) -> bool:
    """Whether a key, a revoked one too, has this label."""
    return connection.execute(select(api_keys.c.id).where(api_keys.c.label == label).limit(1)).first() is not None


def page_keys(connection: Connection, request: PageRequest) -> Page[ApiKey]:
    """Return one page of the keys."""
    return read_page(connection, select(api_keys), api_keys.c.id, request, _read_key)


def save_key_used(connection: Connection, key: str, now: int) -> None:
    """Save when a key was last used."""
    connection.execute(update(api_keys).where(api_keys.c.id == key).values(used=now))


def revoke_key(connection: Connection, key: str, now: int) -> None:
    """Save that a key holds no longer, and end its sessions and codes."""
    connection.execute(update(api_keys).where(api_keys.c.id == key, api_keys.c.revoked.is_(None)).values(revoked=now))
    for table in (sessions, signin_codes):
        connection.execute(delete(table).where(table.c.owner_key == key))


def insert_session(connection: Connection, session: Session) -> None:
    """Add a session, and forget those that have expired."""
    connection.execute(delete(sessions).where(sessions.c.expires <= session.created))
    connection.execute(
        insert(sessions).values(
            hash=session.hash,
            id=session.id,
            owner_user=session.owner_user,
            owner_key=session.owner_key,
            created=session.created,
            seen=session.seen,
            expires=session.expires,
            address=session.address,
        )
    )


def find_session(connection: Connection, session_hash: str) -> Session | None:
    """Return the session with this hash, or None."""
    row = connection.execute(select(sessions).where(sessions.c.hash == session_hash)).one_or_none()
    return None if row is None else _read_session(row)


def find_session_by_id(connection: Connection, session: str) -> Session | None:
    """Return the session with this id, or None."""
    row = connection.execute(select(sessions).where(sessions.c.id == session)).one_or_none()
    return None if row is None else _read_session(row)


def page_sessions(connection: Connection, request: PageRequest, now: int) -> Page[Session]:
    """Return one page of the sessions that have not expired."""
    return read_page(
        connection, select(sessions).where(sessions.c.expires > now), sessions.c.id, request, _read_session
    )


def save_session_seen(connection: Connection, session_hash: str, now: int) -> None:
    """Save when a session was last seen."""
    connection.execute(update(sessions).where(sessions.c.hash == session_hash).values(seen=now))


def delete_session(connection: Connection, session: str) -> Session:
    """End the session with this id and return it.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(sessions).where(sessions.c.id == session)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no session {session!r}")
    connection.execute(delete(sessions).where(sessions.c.id == session))
    return _read_session(row)


def end_sessions_of(connection: Connection, user: str) -> int:
    """End all sessions and codes of a user; return how many sessions there were."""
    connection.execute(delete(signin_codes).where(signin_codes.c.owner_user == user))
    return connection.execute(delete(sessions).where(sessions.c.owner_user == user)).rowcount


def insert_code(connection: Connection, code: SigninCode, now: int) -> None:
    """Add a sign-in code, and forget those that have expired."""
    connection.execute(delete(signin_codes).where(signin_codes.c.expires <= now))
    connection.execute(
        insert(signin_codes).values(
            hash=code.hash, owner_user=code.owner_user, owner_key=code.owner_key, expires=code.expires
        )
    )


def use_code(connection: Connection, code_hash: str, now: int) -> SigninCode | None:
    """Use a sign-in code up; return it where it held."""
    held = (signin_codes.c.hash == code_hash, signin_codes.c.expires > now)
    row = connection.execute(select(signin_codes).where(*held)).one_or_none()
    connection.execute(delete(signin_codes).where(*held))
    return None if row is None else _read_code(row)


def read_setting(connection: Connection, key: str) -> str | None:
    """Return a setting, or None."""
    row = connection.execute(select(settings.c.value).where(settings.c.key == key)).one_or_none()
    return None if row is None else str(row[0])


def save_setting(connection: Connection, key: str, value: str) -> None:
    """Set a setting."""
    connection.execute(delete(settings).where(settings.c.key == key))
    connection.execute(insert(settings).values(key=key, value=value))
