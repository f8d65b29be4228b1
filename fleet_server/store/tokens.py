"""Enrolment tokens: stored by the hash of their secret, used up in the same transaction that adds the device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select, update

from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import tokens


@dataclass(frozen=True, slots=True)
class Token:
    """What a token allows: how many enrolments, until when, and what the enrolled devices get."""

    id: str
    secret_hash: str
    label: str
    uses: int
    created: int
    expires: int
    used: int = 0
    profile: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


_read = reader(Token, "n")


def insert_token(connection: Connection, token: Token) -> None:
    """Add a token."""
    connection.execute(
        insert(tokens).values(
            id=token.id,
            secret_hash=token.secret_hash,
            label=token.label,
            profile=token.profile,
            labels=dict(token.labels),
            uses=token.uses,
            used=token.used,
            created=token.created,
            expires=token.expires,
        )
    )


def find_token(connection: Connection, secret_hash: str) -> Token | None:
    """Return the token whose secret has this hash, or None."""
    row = connection.execute(select(tokens).where(tokens.c.secret_hash == secret_hash)).one_or_none()
    return None if row is None else _read(row)


def use_token(connection: Connection, token: str, now: int) -> bool:
    """Take one use of a token; return whether there was one left at this time."""
    result = connection.execute(
        update(tokens)
        .where(tokens.c.id == token, tokens.c.used < tokens.c.uses, tokens.c.expires > now)
        .values(used=tokens.c.used + 1)
    )
    return result.rowcount == 1


def page_tokens(connection: Connection, request: PageRequest) -> Page[Token]:
    """Return one page of the tokens, newest first."""
    return read_page(connection, select(tokens), tokens.c.n, request, _read, newest_first=True)


def delete_token(connection: Connection, token: str) -> None:
    """Revoke a token.

    Raises:
        NotFoundError: there is none of this id.
    """
    if connection.execute(delete(tokens).where(tokens.c.id == token)).rowcount == 0:
        raise NotFoundError(f"there is no token {token!r}")


def return_use(connection: Connection, token: str) -> None:
    """Give one use of a token back: what it was for did not come about."""
    connection.execute(update(tokens).where(tokens.c.id == token, tokens.c.used > 0).values(used=tokens.c.used - 1))
