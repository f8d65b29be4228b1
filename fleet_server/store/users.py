"""People who sign in with a name and a password; the password by its argon2id hash alone."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, insert, select, update

from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import metadata

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class User:
    """A person; `changed` is when the password or the role last did, in epoch ms."""

    name: str
    password_hash: str
    role: str
    created: int
    changed: int


_read = reader(User)


def insert_user(connection: Connection, user: User) -> None:
    """Add a user."""
    connection.execute(
        insert(users).values(
            name=user.name,
            password_hash=user.password_hash,
            role=user.role,
            created=user.created,
            changed=user.changed,
        )
    )


def find_user(connection: Connection, name: str) -> User | None:
    """Return a user, or None."""
    row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
    return None if row is None else _read(row)


def get_user(connection: Connection, name: str) -> User:
    """Return a user.

    Raises:
        NotFoundError: there is none of this name.
    """
    found = find_user(connection, name)
    if found is None:
        raise NotFoundError(f"there is no user {name!r}")
    return found


def page_users(connection: Connection, request: PageRequest) -> Page[User]:
    """Return one page of the users."""
    return read_page(connection, select(users), users.c.name, request, _read)


def save_password(connection: Connection, name: str, password_hash: str, now: int) -> None:
    """Set a user's password."""
    connection.execute(update(users).where(users.c.name == name).values(password_hash=password_hash, changed=now))


def save_role(connection: Connection, name: str, role: str, now: int) -> None:
    """Set a user's role."""
    connection.execute(update(users).where(users.c.name == name).values(role=role, changed=now))


def delete_user(connection: Connection, name: str) -> None:
    """Remove a user, and the sessions with it."""
    connection.execute(delete(users).where(users.c.name == name))
