"""Accounts in the files of a managed Mosquitto: passwords, access list, and what both are written from.

House rules: `accounts.json` is the truth and is written first; the broker's own two files follow from it. A change is
in force when the call returns: Mosquitto is told to read again, and says so in its log. Neither that nor a list of
revoked certificates ends a session by certificate, so the server takes it over: under a password of a moment that
nobody knows, on its own listener, as that device, which is denied everything at the time.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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
from fleet_server.broker.client import BrokerAddress, take_over
from fleet_server.store.artifacts import write_durably

LOG_NAME = "mosquitto.log"
_LOOPBACK = "127.0.0.1"
_RELOAD_TIMEOUT_S = 15.0
_SIGNAL_AGAIN_S = 0.5
_TAKE_OVER_TIMEOUT_S = 5.0
_RELOADED = b"Reloading config."


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The file `accounts.json`: passwords of the server and of dashboards, devices let in, and those locked out."""

    server_password: str
    dashboard_password: str
    devices: Mapping[str, Account]
    denied: tuple[str, ...] = ()


class MosquittoAccounts:
    """Devices' accounts in Mosquitto's files: kept across restarts, and in force when a call returns."""

    def __init__(self, folder: Path, topics: Topics) -> None:
        self._folder = folder
        self._topics = topics
        self._lock = threading.Lock()
        self._secrets: _Secrets | None = None
        self._child: Child | None = None
        self._port = 0

    @property
    def enforced(self) -> bool:
        """Mosquitto checks certificates, passwords and access lists."""
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

    def denied(self) -> frozenset[str]:
        """Return the devices that are locked out."""
        return frozenset(self._load().denied)

    @property
    def certificates(self) -> bool:
        """Devices come by certificate."""
        return True

    def add(self, device: str, password: str | None, cohort: str) -> None:
        """Let a device in by its certificate; replaces an account of this device."""
        del password
        check_device_id(device)
        account = Account(cohort)
        known = self._load()
        if known.devices.get(device) != account or device in known.denied:
            self._change(lambda held: _with(held, device, account))

    def move(self, device: str, cohort: str) -> None:
        """Have a device read another cohort."""
        account = self._load().devices.get(device)
        if account is not None and account.cohort != cohort:
            self._change(lambda held: _with(held, device, Account(cohort)))

    def remove(self, device: str) -> None:
        """Lock a device out: when this returns its live session may neither read nor write any more."""
        check_device_id(device)
        self._change(lambda held: _without(held, device))

    def end_session(self, device: str) -> None:
        """End the session of a device that is locked out; the list of revoked certificates is read as well.

        Raises:
            OSError: the broker did not end it in time.
        """
        if device not in self._load().denied:
            return  # let in again meanwhile
        password = new_password()
        self._change(lambda held: held, {device: hash_password(password)})
        child = self._child
        if child is None or child.pid is None:
            return  # no broker, no session; it reads the files when it starts
        address = BrokerAddress(_LOOPBACK, self._port, device, password)
        if not take_over(address, _TAKE_OVER_TIMEOUT_S):
            raise ConnectionError(f"the broker did not end the session of {device} within {_TAKE_OVER_TIMEOUT_S:g} s")

    def forget(self, devices: Collection[str]) -> None:
        """Drop the lines that deny these devices."""
        if not self.denied().isdisjoint(devices):
            kept = tuple(name for name in self._load().denied if name not in devices)
            self._change(lambda held: replace(held, denied=kept))

    def reload(self) -> None:
        """Have Mosquitto read its files again, and the list of revoked certificates."""
        with self._lock:
            self._reload()

    def attach(self, child: Child | None, port: int = 0) -> None:
        """Have changes reloaded by this child, whose listener for passwords is at `port`; writes the files."""
        with self._lock:
            self._child = child
            self._port = port
            self._write(self._load_locked(), {})

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

    def _change(self, change: Callable[[_Secrets], _Secrets], momentary: Mapping[str, str] | None = None) -> None:
        """Write the files and have them read; `momentary` hashes are in force until the next change."""
        with self._lock:
            self._write(change(self._load_locked()), momentary or {})
            self._reload()

    def _write(self, secrets: _Secrets, momentary: Mapping[str, str]) -> None:
        hashes = dict(momentary)
        hashes[SERVER_USER] = hash_password(secrets.server_password)
        hashes[DASHBOARD_USER] = hash_password(secrets.dashboard_password)
        cohorts = {name: account.cohort for name, account in secrets.devices.items()}
        # accounts.json first: the other two follow from it, and are written again at the next start.
        write_durably(self._folder / "accounts.json", _encode(secrets))
        write_durably(self._folder / "passwords", render_passwords(hashes).encode())
        write_durably(self._folder / "access", render_access(self._topics, cohorts, secrets.denied).encode())
        self._secrets = secrets

    def _reload(self) -> None:
        """Have Mosquitto read its files again, and wait until it says so: it serves nobody in between.

        It forgets a signal that comes while it still reads after the one before, so the signal is repeated.

        Raises:
            OSError: it did not say so in time.
        """
        if self._child is None:
            return
        path = self._folder / LOG_NAME
        before = path.stat().st_size if path.exists() else 0
        deadline, pause = time.monotonic() + _RELOAD_TIMEOUT_S, threading.Event()
        while time.monotonic() < deadline:
            if not self._child.signal(signal.SIGHUP):
                return  # it is being started again, and reads the files then
            again = time.monotonic() + _SIGNAL_AGAIN_S
            while time.monotonic() < again:
                with path.open("rb") as lines:
                    lines.seek(before)
                    if _RELOADED in lines.read():
                        return
                pause.wait(0.01)
        raise TimeoutError(f"the broker has not read its files again within {_RELOAD_TIMEOUT_S:g} s")


def _encode(secrets: _Secrets) -> bytes:
    """Return the file's bytes; by hand, since the codec takes 30 times as long for ten thousand devices."""
    devices = {name: {"cohort": account.cohort} for name, account in secrets.devices.items()}
    plain = {"server_password": secrets.server_password, "dashboard_password": secrets.dashboard_password}
    return json.dumps({**plain, "devices": devices, "denied": secrets.denied}, separators=(",", ":")).encode()


def _with(held: _Secrets, device: str, account: Account) -> _Secrets:
    denied = tuple(name for name in held.denied if name != device)
    return replace(held, devices={**held.devices, device: account}, denied=denied)


def _without(held: _Secrets, device: str) -> _Secrets:
    devices = {name: found for name, found in held.devices.items() if name != device}
    return replace(held, devices=devices, denied=tuple(sorted({*held.denied, device})))
