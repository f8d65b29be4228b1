"""Who may connect to the broker, and what each may read: an interface, and Mosquitto's password and access files.

House rules: devices come by certificate; passwords are the server's own and the dashboards'. A device that is locked
out has a line of the access list that denies it everything, since its certificate may still be valid. Mosquitto looks
through the users of an access list one after the other: what holds for every device is a pattern, and a device has one
line. Names of the server's own accounts begin with `_`, which no device id does.
"""

import base64
import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_agent.contract.topics import ANY_USER, Topics, check_device_id, check_name

SERVER_USER = "_server"
DASHBOARD_USER = "_dashboard"

# mosquitto_passwd's own count. Stretching protects guessable passwords; ours are 256 bits of chance, and a broker
# hashes on each connection.
_ITERATIONS = 101
_SALT_BYTES = 12


class BrokerAccounts(Protocol):
    """Accounts of devices on the broker, as services see them."""

    @property
    def enforced(self) -> bool:
        """Whether the broker enforces what is set here."""
        ...

    @property
    def advice(self) -> str:
        """What the operator has to configure himself; empty where nothing."""
        ...

    @property
    def certificates(self) -> bool:
        """Whether the broker knows devices by the fleet's certificates; else by passwords."""
        ...

    def add(self, device: str, password: str | None, cohort: str) -> None:
        """Let a device in as a reader of one cohort; replaces an account of this device."""
        ...

    def move(self, device: str, cohort: str) -> None:
        """Have a device read another cohort; unknown devices are left unknown."""
        ...

    def remove(self, device: str) -> None:
        """Lock a device out, known or not: its session stays, and is mute."""
        ...

    def end_session(self, device: str) -> None:
        """End the session of a device that is locked out; the list of revoked certificates is read before."""
        ...

    def devices(self) -> frozenset[str]:
        """Return the devices that have an account here."""
        ...

    def denied(self) -> frozenset[str]:
        """Return the devices that are locked out."""
        ...

    def forget(self, devices: Collection[str]) -> None:
        """Drop the lines that deny these devices: no certificate of theirs is valid any more."""
        ...

    def reload(self) -> None:
        """Have the broker read its files again, and the list of revoked certificates."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """A device's account as it is kept: the cohort that it reads."""

    cohort: str

    def __post_init__(self) -> None:
        check_name(self.cohort)


class UnmanagedAccounts:
    """Accounts of a broker that the server does not administer: nothing is written anywhere."""

    def __init__(self, advice: str, *, certificates: bool = False) -> None:
        self._advice = advice
        self._certificates = certificates

    @property
    def enforced(self) -> bool:
        """Nothing is enforced by this server."""
        return False

    @property
    def advice(self) -> str:
        """What the operator has to configure himself."""
        return self._advice

    @property
    def certificates(self) -> bool:
        """What the operator says of his broker."""
        return self._certificates

    def add(self, device: str, password: str | None, cohort: str) -> None:
        """Check the arguments only."""
        del password
        check_device_id(device)
        check_name(cohort)

    def move(self, device: str, cohort: str) -> None:
        """Check the arguments only."""
        check_device_id(device)
        check_name(cohort)

    def remove(self, device: str) -> None:
        """Check the argument only."""
        check_device_id(device)

    def end_session(self, device: str) -> None:
        """Check the argument only."""
        check_device_id(device)

    def devices(self) -> frozenset[str]:
        """None are known here."""
        return frozenset()

    def denied(self) -> frozenset[str]:
        """None are known here."""
        return frozenset()

    def forget(self, devices: Collection[str]) -> None:
        """Nothing is kept here."""

    def reload(self) -> None:
        """It is the operator's to bring the list of revoked certificates to his broker."""


def new_password() -> str:
    """Return a random password of 256 bits in 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return a password's hash as Mosquitto 2 keeps it: `$7$iterations$salt$hash`, PBKDF2 with HMAC-SHA512, base64.

    Source: mosquitto_passwd(1), and RFC 8018 for PBKDF2.
    """
    used = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), used, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(used).decode()}${base64.b64encode(digest).decode()}"


def render_passwords(hashes: Mapping[str, str]) -> str:
    """Return the text of a password file for users and their hashes."""
    return "".join(f"{user}:{hashed}\n" for user, hashed in sorted(hashes.items()))


def render_access(topics: Topics, cohorts: Mapping[str, str], denied: Iterable[str] = ()) -> str:
    """Return the text of an access file: `cohorts` maps each device to the one that it reads; `denied` read nothing.

    Patterns hold for every user, so dashboards are denied what a device of their name could write. Mosquitto warns of
    patterns without a user name; they are meant.
    """
    lines = [f"pattern write {text}" for text in topics.writable(ANY_USER)]
    lines += [f"pattern read {text}" for text in (*topics.readable(ANY_USER), *topics.public())]
    lines += ["", f"user {SERVER_USER}", f"topic readwrite {topics.everything()}", "topic read $SYS/#"]
    own = (text.replace(ANY_USER, DASHBOARD_USER) for text in topics.writable(ANY_USER))
    lines += ["", f"user {DASHBOARD_USER}", *(f"topic deny {text}" for text in own)]
    lines += [*(f"topic read {text}" for text in topics.dashboards()), "topic read $SYS/#"]
    for device in sorted(denied):
        lines += ["", f"user {check_device_id(device)}", f"topic deny {topics.everything()}"]
    # Ten thousand devices have few cohorts: each name is checked once.
    chunks = {cohort: f"topic read {topics.chunks(cohort)}" for cohort in set(cohorts.values())}
    for device, cohort in sorted(cohorts.items()):
        lines += ["", f"user {check_device_id(device)}", chunks[cohort]]
    return "\n".join(lines) + "\n"
