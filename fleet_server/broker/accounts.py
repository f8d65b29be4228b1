"""Who may connect to the broker, and what each may read: an interface, and Mosquitto's password and access files.

House rules: a device's password is random and of the server's making; only its hash is kept. Files are written whole
and renamed, so that a broker never reads half of one. Names of the server's own accounts begin with `_`, which no
device id does.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
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

    def add(self, device: str, password: str, cohort: str) -> None:
        """Let a device in with a password, as a reader of one cohort; replaces an account of this device."""
        ...

    def move(self, device: str, cohort: str) -> None:
        """Have a device read another cohort; unknown devices are left unknown."""
        ...

    def remove(self, device: str) -> None:
        """Lock a device out; nothing happens where it is unknown."""
        ...

    def devices(self) -> frozenset[str]:
        """Return the devices that have an account here."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """A device's account as it is kept: the hash of its password in Mosquitto's form, and its cohort."""

    password_hash: str
    cohort: str

    def __post_init__(self) -> None:
        check_name(self.cohort)


class UnmanagedAccounts:
    """Accounts of a broker that the server does not administer: nothing is written anywhere."""

    def __init__(self, advice: str) -> None:
        self._advice = advice

    @property
    def enforced(self) -> bool:
        """Nothing is enforced by this server."""
        return False

    @property
    def advice(self) -> str:
        """What the operator has to configure himself."""
        return self._advice

    def add(self, device: str, password: str, cohort: str) -> None:
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

    def devices(self) -> frozenset[str]:
        """None are known here."""
        return frozenset()


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


def render_access(topics: Topics, cohorts: Mapping[str, str]) -> str:
    """Return the text of an access file: `cohorts` maps each device to the one that it reads.

    Patterns hold for every user, so dashboards are denied what a device of their name could write.
    """
    lines = [f"pattern write {text}" for text in topics.writable(ANY_USER)]
    lines += [f"pattern read {text}" for text in topics.readable(ANY_USER)]
    lines += ["", f"user {SERVER_USER}", f"topic readwrite {topics.everything()}", "topic read $SYS/#"]
    own = (text.replace(ANY_USER, DASHBOARD_USER) for text in topics.writable(ANY_USER))
    lines += ["", f"user {DASHBOARD_USER}", *(f"topic deny {text}" for text in own)]
    lines += [*(f"topic read {text}" for text in topics.dashboards()), "topic read $SYS/#"]
    for device, cohort in sorted(cohorts.items()):
        lines += ["", f"user {check_device_id(device)}", *(f"topic read {text}" for text in topics.shared(cohort))]
    return "\n".join(lines) + "\n"
