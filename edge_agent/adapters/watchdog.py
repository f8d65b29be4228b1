"""Notifications to the service manager: started, stopping, and still making progress.

Source: sd_notify(3) and sd_watchdog_enabled(3) of systemd: datagrams of `NAME=value` lines to the Unix socket named by
NOTIFY_SOCKET (`@` begins an abstract name), WATCHDOG_USEC as the time within which WATCHDOG=1 has to come again.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

_SHARE = 1 / 3  # of the time given: two may be late before the third is missed


class Watchdog:
    """Speaks to the service manager, where there is one; else it does nothing."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self.every_s = _every_s(environment) if self._address else None

    def ready(self) -> None:
        """Say that the service is up."""
        self._say("READY=1")

    def alive(self) -> None:
        """Say that there is progress."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service ends in order."""
        self._say("STOPPING=1")

    def _say(self, line: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(1.0)
            out.sendto(line.encode(), self._address)


def _every_s(environment: Mapping[str, str]) -> float | None:
    """Return how often to say so; `None` where no watchdog waits for this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 * _SHARE
    except (KeyError, ValueError):
        return None
