"""Release keys to try out with, on the server itself: made at its first start, used for each registered version.

House rules: only on loopback, or where an operator asked for it by name; whoever has this machine has the keys, and the
server says so. What signs is the trainer's own command, as a process of its own: the way of production, with the one
difference that nobody carries the folder.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_agent.contract.exchange import SIGNED
from edge_agent.contract.trust import IMAGE
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import ServiceError
from fleet_server.services.listings import list_waiting
from fleet_server.services.releases import ImageRepository
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.releases import newest_root

_log = structlog.get_logger(__name__)
_AUTHOR = "try-out keys"
_TIMEOUT_S = 120.0
_AGAIN_MS = 60_000
_MANUAL = "docs/how-to/releases.md"

RunTrainer = Callable[[Sequence[str]], None]


class TrainerError(ServiceError):
    """The trainer's command did not do it; the message is its own."""


def run_trainer(arguments: Sequence[str]) -> None:
    """Run the trainer's command as a child process.

    Raises:
        TrainerError: it failed, or took too long.
    """
    _run(["trainer", *arguments])


def run_autosign(arguments: Sequence[str]) -> None:
    """Run the signer of automatic versions as a child process.

    Raises:
        TrainerError: it failed, or took too long.
    """
    _run(["fleet_server.autosign", *arguments])


def _run(words: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGELOOP_")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainerError(f"the command {words[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise TrainerError(f"{' '.join(words[:3])}: {done.stderr.strip()[-2000:]}")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the keys and the exchange folder lie."""

    keys: Path
    exchange: Path


class TryOut:
    """Makes the keys, and signs by them what waits; where it is not `allowed`, it only says what is to be done."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactFolder,
        image: ImageRepository,
        folder: Path,
        run: RunTrainer,
        clock: Clock,
        *,
        allowed: bool,
        autosign: RunTrainer = run_autosign,
    ) -> None:
        self._autosign = autosign
        self._again_ms = 0
        self._database = database
        self._artifacts = artifacts
        self._image = image
        self._places = Places(folder / "tryout", folder / "tryout" / "exchange")
        self._run = run
        self._clock = clock
        self._allowed = allowed
        self._signing = threading.Lock()
        self._ours = False

    def begin(self) -> None:
        """Make keys and the first roots where there are none, and sign what waits since a crash.

        Raises:
            TrainerError: the keys cannot be made.
            fleet_server.store.errors.UnavailableError: the database cannot be written now.
        """
        with self._database.read() as connection:
            fresh = newest_root(connection, IMAGE) is None
        if fresh and self._allowed:
            # Keys without a root in the database are of an attempt that did not end, or of a database that is gone.
            shutil.rmtree(self._places.keys, ignore_errors=True)
            self._write_exchange()
            self._run(["keys", "init", str(self._places.keys), str(self._places.exchange), "--no-passphrase"])
            self._push()
            with self._database.write() as connection:
                names = ["root-1", "root-2", "root-3", "release-1"]
                record_audit(connection, self._clock(), _AUTHOR, "keys_made", str(self._places.keys), {"keys": names})
        # A root that people made names none of these keys: then they are only left over.
        self._ours = self._allowed and self._image.trusts_any(self._keyids())
        if self._ours:
            self.sign()

    def sign(self) -> None:
        """Sign what waits, where the release key is here; what goes wrong is logged, and the versions wait."""
        if not self._ours:
            return
        with self._signing:
            with self._database.read() as connection:
                waiting = any(not item.auto for item in list_waiting(connection, self._artifacts))
            if waiting:
                self._sign([])

    def sign_auto(self, model: str) -> None:
        """Sign a model's automatic versions, where release keys are here: by a key of their own, made at the first.

        What goes wrong is logged, tried again a minute later, and the versions wait.
        """
        if not self._ours or self._clock() < self._again_ms:
            return
        with self._signing:
            with self._database.read() as connection:
                waiting = any(item.auto and item.model == model for item in list_waiting(connection, self._artifacts))
            if not waiting:
                return
            self._again_ms = self._clock() + _AGAIN_MS
            try:
                self._sign_auto(model)
                self._again_ms = 0
            except (ServiceError, OSError) as error:
                _log.error("tryout_signing_failed", error=str(error), model=model)

    def _sign_auto(self, model: str) -> None:
        key, public, done = (self._places.keys / f"auto-{model}.{suffix}" for suffix in ("pem", "json", "delegated"))
        exchange = str(self._places.exchange)
        self._write_exchange()
        if not key.exists():
            self._autosign(["make", str(key), "--public", str(public)])
        if not done.exists():  # and never again: a delegation that is gone was taken away by a person
            self._run(["delegate", exchange, model, "--keys", str(self._places.keys), "--key", str(public)])
            self._push()
            done.touch(mode=0o600)
            self._write_exchange()
        self._autosign(["sign", model, exchange, "--key", str(key)])
        self._push()

    def turn(self) -> None:
        """Sign above what devices hold, where this server was restored from an old backup."""
        if self._ours and self._image.is_behind():
            with self._signing:
                self._sign(["--renew"])

    @property
    def notice(self) -> str:
        """What an operator should know about the release keys, in one line; empty where they lie elsewhere."""
        if self._ours:
            return (
                f"release keys to try out with are in {self._places.keys}: whoever has this server can sign versions; "
                f"in production root and release keys never lie on a server ({_MANUAL})"
            )
        with self._database.read() as connection:
            known = newest_root(connection, IMAGE) is not None
        if known:
            return ""
        return f"no release keys yet: versions wait, and no device can be let in, until they are made ({_MANUAL})"

    def _sign(self, options: Sequence[str]) -> None:
        try:
            self._write_exchange()
            self._run(["sign", str(self._places.exchange), "--keys", str(self._places.keys), *options])
            self._push()
        except (ServiceError, OSError) as error:
            _log.error("tryout_signing_failed", error=str(error))

    def _write_exchange(self) -> None:
        shutil.rmtree(self._places.exchange, ignore_errors=True)
        for path, text in self._image.exchange().items():
            place = self._places.exchange / path
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.write_text(text)

    def _push(self) -> None:
        folder = self._places.exchange / SIGNED
        files = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.json"))}
        self._image.push(files, _AUTHOR)

    def _keyids(self) -> frozenset[str]:
        try:
            plain = json.loads((self._places.keys / "keys.json").read_bytes())
            return frozenset(str(held["public"]["keyid"]) for held in plain["keys"].values())
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()
