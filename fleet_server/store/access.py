"""Who may use the API: keys, sessions and one-time sign-in codes, all by SHA-256; and the server's settings."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from fleet_server.store.rows import reader
from fleet_server.store.schema import api_keys, sessions, settings, signin_codes


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An operator's key, by its hash."""

    id: str
    hash: str
    label: str
    created: int


_read_key = reader(ApiKey)


def insert_key(connection: Connection, key: ApiKey) -> None:
    """Add a key."""
    connection.execute(insert(api_keys).values(id=key.id, hash=key.hash, label=key.label, created=key.created))


def find_key(connection: Connection, key_hash: str) -> ApiKey | None:
    """Return the key with this hash, or None."""
    row = connection.execute(select(api_keys).where(api_keys.c.hash == key_hash)).one_or_none()
    return None if row is None else _read_key(row)


def insert_session(connection: Connection, session_hash: str, now: int, expires: int) -> None:
    """Add a session, and forget those that have expired."""
    connection.execute(delete(sessions).where(sessions.c.expires <= now))
    connection.execute(insert(sessions).values(hash=session_hash, created=now, expires=expires))


def is_session(connection: Connection, session_hash: str, now: int) -> bool:
    """Whether a session is open."""
    row = connection.execute(
        select(sessions.c.hash).where(sessions.c.hash == session_hash, sessions.c.expires > now)
    ).one_or_none()
    return row is not None


def insert_code(connection: Connection, code_hash: str, now: int, expires: int) -> None:
    """Add a sign-in code, and forget those that have expired."""
    connection.execute(delete(signin_codes).where(signin_codes.c.expires <= now))
    connection.execute(insert(signin_codes).values(hash=code_hash, expires=expires))


def use_code(connection: Connection, code_hash: str, now: int) -> bool:
    """Use a sign-in code up; return whether it held."""
    result = connection.execute(
        delete(signin_codes).where(signin_codes.c.hash == code_hash, signin_codes.c.expires > now)
    )
    return result.rowcount == 1


def read_setting(connection: Connection, key: str) -> str | None:
    """Return a setting, or None."""
    row = connection.execute(select(settings.c.value).where(settings.c.key == key)).one_or_none()
    return None if row is None else str(row[0])


def save_setting(connection: Connection, key: str, value: str) -> None:
    """Set a setting."""
    connection.execute(delete(settings).where(settings.c.key == key))
    connection.execute(insert(settings).values(key=key, value=value))
