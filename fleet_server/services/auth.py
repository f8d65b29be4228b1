"""Who may use the API: operators' keys, and browser sessions opened by a one-time code.

House rules: secrets are random and 32 bytes long, so a plain SHA-256 of them is what is stored; the text of a secret
leaves once.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256

from fleet_server.services.clock import Clock
from fleet_server.services.errors import DeniedError
from fleet_server.store import access
from fleet_server.store.database import Database

SESSION_MS = 7 * 24 * 3600 * 1000
CODE_MS = 15 * 60 * 1000
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks: the label of the key, or `web` for a browser's session."""

    name: str


def hash_secret(text: str) -> str:
    """Return what is stored of a secret."""
    return sha256(text.encode()).hexdigest()


class Auth:
    """Checks and makes keys, sessions and sign-in codes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def make_key(self, label: str) -> str:
        """Make a key and return its text, which is not stored."""
        text = "ek_" + secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.write() as connection:
            key = access.ApiKey("key-" + secrets.token_hex(6), hash_secret(text), label, self._clock())
            access.insert_key(connection, key)
        return text

    def check_key(self, text: str) -> Operator | None:
        """Return who holds this key, or None."""
        with self._database.read() as connection:
            key = access.find_key(connection, hash_secret(text))
        return None if key is None else Operator(key.label)

    def make_code(self) -> str:
        """Make a sign-in code that works once within 15 minutes, and return its text."""
        text = secrets.token_urlsafe(_SECRET_BYTES)
        now = self._clock()
        with self._database.write() as connection:
            access.insert_code(connection, hash_secret(text), now, now + CODE_MS)
        return text

    def open_session(self, code: str) -> str:
        """Use a sign-in code up and return the text of a new session.

        Raises:
            DeniedError: the code is unknown, used or too old.
        """
        text = secrets.token_urlsafe(_SECRET_BYTES)
        now = self._clock()
        with self._database.write() as connection:
            held = access.use_code(connection, hash_secret(code), now)
            if held:
                access.insert_session(connection, hash_secret(text), now, now + SESSION_MS)
        if not held:
            raise DeniedError(
                "this sign-in link was used already, or is older than 15 minutes; "
                "`edgeloop up` prints a new one at each start"
            )
        return text

    def check_session(self, text: str) -> Operator | None:
        """Return who holds this session, or None."""
        with self._database.read() as connection:
            held = access.is_session(connection, hash_secret(text), self._clock())
        return Operator("web") if held else None
