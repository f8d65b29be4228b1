"""What every broker is to the server: a place to connect, accounts, and a plain word about it; and which one is used.

House rules: `auto` is Mosquitto where it is installed, else the try-out broker on loopback. Beyond loopback there is no
open broker: it takes Mosquitto with TLS, or a broker of the operator's own by URL.
"""

import ipaddress
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fleet_server.broker.accounts import BrokerAccounts
from fleet_server.broker.client import BrokerAddress

MOSQUITTO_VARIABLE = "EDGELOOP_MOSQUITTO"
_MOSQUITTO_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")


class BrokerSetupError(ValueError):
    """The broker cannot be set up as configured; the message says what to install or to change."""


class BrokerKind(StrEnum):
    """Which broker it is."""

    MOSQUITTO = "mosquitto"
    IOTCORE = "iotcore"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a listener: its certificate, the key, the authority of it and of devices, and those it revoked."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where devices connect; `ca_pem` is what the broker's certificate chains to, absent without TLS."""

    host: str
    port: int
    ca_pem: str | None = None


class Broker(Protocol):
    """A broker that the server uses; `start` returns when it listens (or is assumed to, where it is external)."""

    @property
    def kind(self) -> BrokerKind:
        """Which broker it is."""
        ...

    @property
    def version(self) -> str:
        """Its version, or an empty text where that is not known."""
        ...

    @property
    def notice(self) -> str:
        """What the operator should know of it, in one sentence."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its process runs; always true where it is not ours."""
        ...

    @property
    def accounts(self) -> BrokerAccounts:
        """The devices' accounts."""
        ...

    def start(self) -> None:
        """Start it and wait until it listens."""
        ...

    def stop(self) -> None:
        """Stop it and release its ports."""
        ...

    def address(self) -> BrokerAddress:
        """Where the server itself connects, and as whom."""
        ...

    def endpoint(self) -> Endpoint:
        """Where devices connect."""
        ...


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_mosquitto() -> Path | None:
    """Return Mosquitto's program: from `EDGELOOP_MOSQUITTO`, the PATH, or the usual places.

    Raises:
        BrokerSetupError: the variable names something that is no program.
    """
    named = os.environ.get(MOSQUITTO_VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise BrokerSetupError(f"{MOSQUITTO_VARIABLE}={named} is no program; unset it or name Mosquitto's path")
        return Path(named)
    found = shutil.which("mosquitto")
    places = [found] if found else [place for place in _MOSQUITTO_PLACES if os.access(place, os.X_OK)]
    return Path(places[0]) if places else None
