"""Users: people who sign in by a name and a password.

House rules: passwords are kept as argon2id with the parameters of RFC 9106, section 4 (second recommendation: 64 MiB,
3 passes, 4 lanes); an unknown name costs and answers the same as a wrong password; a new password or role ends all of
the user's sessions; too many wrong passwords are refused for a while, never for good.
"""

import functools
import threading
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import Connection

from fleet_server.core.permissions import Role
from fleet_server.services.api_keys import check_own_name, refuse_taken_name
from fleet_server.services.audit import record_audit
from fleet_server.services.auth import Principal, begin_session
from fleet_server.services.clock import Clock
from fleet_server.services.errors import DeniedError, InvalidError
from fleet_server.services.throttles import Kind, Throttle
from fleet_server.store import access, users
from fleet_server.store.database import Database
from fleet_server.store.errors import UnavailableError
from fleet_server.store.pages import Page, PageRequest

MIN_PASSWORD, MAX_PASSWORD = 12, 200
# Each check holds 64 MiB for a moment: strangers must not choose how many run at once.
_AT_ONCE, _WAIT_S = 4, 10.0
_REFUSED = "the name or the password is wrong"


class Hasher(Protocol):
    """What hashes passwords."""

    def hash(self, password: str, /) -> str:
        """Return the hash of a password, with its parameters and salt."""

    def verify(self, stored: str, password: str, /) -> bool:
        """Return true where a password fits a hash, and raise `VerificationError` where not."""

    def check_needs_rehash(self, stored: str, /) -> bool:
        """Whether a hash was made with other parameters."""


class Users:
    """Makes, shows, changes and removes users, and signs them in."""

    def __init__(self, database: Database, throttle: Throttle, clock: Clock, hasher: Hasher | None = None) -> None:
        self._database = database
        self._throttle = throttle
        self._clock = clock
        self._hasher: Hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def sign_in(self, name: str, password: str, address: str) -> str:
        """Open a session by a name and a password, and return its text.

        Raises:
            DeniedError: one of them is wrong.
            ThrottledError: there were too many wrong passwords for this name a moment ago.
            UnavailableError: too many sign in at this moment.
        """
        self._throttle.count(Kind.PASSWORD, name)
        decoy = self._decoy  # made before it is known whether it is needed
        with self._database.read() as connection:
            user = users.find_user(connection, name)
        fits = self._verify(decoy if user is None else user.password_hash, password)
        now = self._clock()
        if user is not None and fits:
            with self._database.write() as connection:
                # Read again: the user may have been removed, or given another password, while this one was checked.
                if users.find_user(connection, name) == user:
                    self._throttle.forgive(Kind.PASSWORD, name)
                    self._renew(connection, user, password)
                    return begin_session(connection, _principal(user), now, address, "password")
        # A name that is nobody's may be a password in the wrong field: it is not kept.
        with self._database.write() as connection:
            actor = "unknown" if user is None else user.name
            record_audit(connection, now, actor, "sign_in_refused", actor, {"address": address})
        raise DeniedError(_REFUSED)

    def add(self, name: str, password: str, role: Role, actor: str) -> users.User:
        """Add a user.

        Raises:
            InvalidError: the name is malformed, or the password too short.
            ConflictError: a user or a key has this name.
        """
        check_own_name(name)
        hashed, now = self._hash(password), self._clock()
        user = users.User(name, hashed, role, now, now)
        with self._database.write() as connection:
            refuse_taken_name(connection, name)
            users.insert_user(connection, user)
            record_audit(connection, now, actor, "user_added", name, {"role": role})
        return user

    def list_users(self, request: PageRequest) -> Page[users.User]:
        """Return one page of the users."""
        with self._database.read() as connection:
            return users.page_users(connection, request)

    def change(self, name: str, actor: str, *, role: Role | None = None, password: str | None = None) -> users.User:
        """Give a user another role or password, and end all sessions of the user.

        Raises:
            NotFoundError: there is none of this name.
            InvalidError: the password is too short.
        """
        hashed, now = None if password is None else self._hash(password), self._clock()
        with self._database.write() as connection:
            before = users.get_user(connection, name)
            if role is not None:
                users.save_role(connection, name, role, now)
                record_audit(connection, now, actor, "role_changed", name, {"from": before.role, "to": role})
            if hashed is not None:
                users.save_password(connection, name, hashed, now)
                record_audit(connection, now, actor, "password_changed", name)
            access.end_sessions_of(connection, name)
            return users.get_user(connection, name)

    def change_own_password(self, asker: Principal, old: str, new: str) -> None:
        """Give oneself another password; it takes the old one.

        Raises:
            DeniedError: who asks is no user, or the old password is wrong.
            InvalidError: the new one is too short.
            ThrottledError: there were too many wrong passwords a moment ago.
        """
        if asker.user is None:
            raise DeniedError("a key has no password")
        self._throttle.count(Kind.PASSWORD, asker.user)
        with self._database.read() as connection:
            known = users.get_user(connection, asker.user).password_hash
        if not self._verify(known, old):
            raise DeniedError("the old password is wrong")
        self.change(asker.user, asker.name, password=new)

    def remove(self, name: str, actor: str) -> None:
        """Remove a user, and end all sessions of the user.

        Raises:
            NotFoundError: there is none of this name.
        """
        now = self._clock()
        with self._database.write() as connection:
            users.get_user(connection, name)
            access.end_sessions_of(connection, name)
            users.delete_user(connection, name)
            record_audit(connection, now, actor, "user_removed", name)

    def _hash(self, password: str) -> str:
        # NIST SP 800-63B-4, section 3.1.1.2: length counts, rules about kinds of characters do not.
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise InvalidError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        return self._hasher.hash(password)

    def _verify(self, known: str, password: str) -> bool:
        if not self._slots.acquire(timeout=_WAIT_S):
            raise UnavailableError("too many sign in at this moment; try again")
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False
        finally:
            self._slots.release()

    def _renew(self, connection: Connection, user: users.User, password: str) -> None:
        if self._hasher.check_needs_rehash(user.password_hash):
            users.save_password(connection, user.name, self._hasher.hash(password), user.changed)

    @functools.cached_property
    def _decoy(self) -> str:
        return self._hasher.hash("nobody has this password")


def _principal(user: users.User) -> Principal:
    return Principal(user.name, Role(user.role), user=user.name)
