"""Accounts in the files of a managed Mosquitto: passwords, access list, and what both are written from.

House rules: `accounts.json` is the truth and is written first; the broker's own two files follow from it. A change is
in force when the call returns: Mosquitto is told to read again, and says so in its log.
"""

import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from edge_agent.contract import codec
from edge_agent.contract.topics import Topics, check_device_id
from fleet_server.broker.accounts import (
    DASHBOARD_USER,
    SERVER_USER,
    Account,
    hash_password,
    new_password,
    render_access,
    render_passwords,
)
from fleet_server.broker.child import Child

log = structlog.get_logger(__name__)

LOG_NAME = "mosquitto.log"
_RELOAD_TIMEOUT_S = 3.0
_RELOADED = b"Reloading config."


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The file `accounts.json`: passwords of the server and of dashboards, hashes of the devices' ones."""

    server_password: str
    dashboard_password: str
    devices: Mapping[str, Account]


class MosquittoAccounts:
    """Devices' accounts in Mosquitto's files: kept across restarts, and in force when a call returns."""

    def __init__(self, folder: Path, topics: Topics) -> None:
        self._folder = folder
        self._topics = topics
        self._lock = threading.Lock()
        self._secrets: _Secrets | None = None
        self._child: Child | None = None

    @property
    def enforced(self) -> bool:
        """Mosquitto checks passwords and access lists."""
        return True

    @property
    def advice(self) -> str:
        """Nothing is left to the operator."""
        return ""

    @property
    def server_password(self) -> str:
        """The password of the server's own account."""
        return self._load().server_password

    @property
    def dashboard_password(self) -> str:
        """The password of the read-only account for dashboards."""
        return self._load().dashboard_password

    def devices(self) -> frozenset[str]:
        """Return the devices that have an account."""
        return frozenset(self._load().devices)

    def add(self, device: str, password: str, cohort: str) -> None:
        """Let a device in; replaces an account of this device."""
        self._change(check_device_id(device), Account(hash_password(password), cohort))

    def move(self, device: str, cohort: str) -> None:
        """Have a device read another cohort."""
        account = self._load().devices.get(device)
        if account is not None and account.cohort != cohort:
            self._change(device, replace(account, cohort=cohort))

    def remove(self, device: str) -> None:
        """Lock a device out. Its live session stays open but is mute: it may neither read nor write any more."""
        if device in self._load().devices:
            self._change(device, None)

    def attach(self, child: Child | None) -> None:
        """Have changes reloaded by this child, or by none; writes the files."""
        with self._lock:
            self._child = child
            self._write(self._load_locked())

    def _load(self) -> _Secrets:
        with self._lock:
            return self._load_locked()

    def _load_locked(self) -> _Secrets:
        if self._secrets is None:
            path = self._folder / "accounts.json"
            if path.exists():
                self._secrets = codec.decode(_Secrets, path.read_bytes())
            else:
                self._secrets = _Secrets(new_password(), new_password(), {})
        return self._secrets

    def _change(self, device: str, account: Account | None) -> None:
        with self._lock:
            known = self._load_locked()
            devices = {name: found for name, found in known.devices.items() if name != device}
            if account is not None:
                devices[device] = account
            self._write(replace(known, devices=devices))
            self._reload()

    def _write(self, secrets: _Secrets) -> None:
        hashes = {name: account.password_hash for name, account in secrets.devices.items()}
        hashes[SERVER_USER] = hash_password(secrets.server_password)
        hashes[DASHBOARD_USER] = hash_password(secrets.dashboard_password)
        cohorts = {name: account.cohort for name, account in secrets.devices.items()}
        # accounts.json first: the other two follow from it, and are written again at the next start.
        write_private(self._folder / "accounts.json", codec.encode(secrets))
        write_private(self._folder / "passwords", render_passwords(hashes).encode())
        write_private(self._folder / "access", render_access(self._topics, cohorts).encode())
        self._secrets = secrets

    def _reload(self) -> None:
        """Have Mosquitto read its files again, and wait until it says so: it serves nobody in between."""
        if self._child is None:
            return
        path = self._folder / LOG_NAME
        before = path.stat().st_size if path.exists() else 0
        if not self._child.signal(signal.SIGHUP):
            return  # it is being started again, and reads the files then
        deadline = time.monotonic() + _RELOAD_TIMEOUT_S
        pause = threading.Event()
        while time.monotonic() < deadline:
            with path.open("rb") as lines:
                lines.seek(before)
                if _RELOADED in lines.read():
                    return
            pause.wait(0.01)
        log.warning("broker_reload_unconfirmed", within_s=_RELOAD_TIMEOUT_S)


def write_private(path: Path, content: bytes) -> None:
    """Write a file whole, readable by its owner alone, and put it in place at once."""
    draft = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(path)
