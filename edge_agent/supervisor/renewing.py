"""Keeps the certificate fresh: starts a short-lived child when it is due, and hands the new one to the connection.

House rules: it never stands in the way of serving. By the wall clock, since a certificate's times are; a board whose
clock is behind renews when the clock is right. Failures are repeated with growing, jittered pauses.
"""

import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.adapters.identity import Identity, IdentityError, load_identity
from edge_agent.core.retry import Backoff

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 60.0
_CHILD_TIMEOUT_S = 120.0
_PENDING = 75
_PENDING_EVERY_S = 15.0
_LEAST_S = 5.0


class Renewer:
    """Renews in a thread of its own, for as long as the agent runs; `show` takes the path of each new certificate.

    A child that runs when the agent ends goes on by itself, since what it does is whole at any moment.
    """

    def __init__(self, state_dir: Path, identity: Identity, show: Callable[[Path], None]) -> None:
        self._state_dir = state_dir
        self._identity = identity
        self._show = show
        self._pause = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)

    def start(self) -> None:
        """Begin, where the broker knows this device by certificate."""
        if self._identity.by_certificate:
            self._thread.start()

    def _run(self) -> None:
        backoff = Backoff(first_s=30.0, max_s=3600.0)
        pause_s = 0.0
        while not self._pause.wait(pause_s):
            if time.time() < self._identity.renew_at:
                pause_s = _LOOK_EVERY_S
                continue
            pending = self._renew()
            # An operator who has just approved a board should not wait for an hour.
            pause_s = _PENDING_EVERY_S if pending else _LEAST_S + backoff.delay_s(self._failures, random.random())  # noqa: S311 - spreads a fleet, keeps no secret

    def _renew(self) -> bool:
        """Run the child once, and show what it brought; return whether an approval is awaited."""
        command = [sys.executable, "-m", "edge_agent.adapters.renewal", str(self._state_dir)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_CHILD_TIMEOUT_S, check=False)
            if done.returncode == 0:
                self._identity = load_identity(self._state_dir)
                self._show(self._state_dir / self._identity.tls_file)
                # Due again at once means that our clock is far ahead: that is no reason to ask without pause.
                self._failures = self._failures + 1 if time.time() >= self._identity.renew_at else 0
                _log.info("certificate_renewed expires=%d", self._identity.expires)
                return False
            detail, pending = done.stderr.strip(), done.returncode == _PENDING
        except (OSError, subprocess.TimeoutExpired, IdentityError) as error:
            detail, pending = str(error), False
        self._failures = 0 if pending else self._failures + 1
        _log.log(logging.INFO if pending else logging.WARNING, "certificate_not_renewed detail=%r", detail or "pending")
        return pending
