"""What every simulated fleet begins with: a migrated database in memory with models in it; made once a process."""

import atexit
import datetime as dt
import functools
import random
import secrets
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import StaticPool, create_engine, event

from edge_agent.contract.messages import AgentSettings
from fleet_server.config import ServerConfig
from fleet_server.services import enrolment as enrolment_room
from fleet_server.services import rollouts as rollouts_room
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import Assigner
from fleet_server.services.clock import Clock
from fleet_server.services.groups import Groups
from fleet_server.services.keys import load_authority
from fleet_server.services.models import Models
from fleet_server.services.profiles import load_denials, load_profiles
from fleet_server.services.tryout import run_trainer
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database, _begin_sqlite
from fleet_server.store.errors import UnavailableError
from fleet_server.trust import Trust, build_trust
from tests.chaos.timeline import Points
from tests.fakes.server_versions import ONNX, write_version

MODELS, VERSIONS = ("digits", "wear"), 4
EPOCH_MS = 1_800_000_000_000


class MemoryDatabase(Database):
    """The database over one connection to memory; its owner may crash before, within and after each transaction."""

    def __init__(self) -> None:
        self.url = "sqlite://"
        self.points = Points()
        self.full = False
        self.raw = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.raw.execute("PRAGMA foreign_keys=ON")
        self._writer = threading.Lock()
        self._engine = create_engine(self.url, creator=lambda: self.raw, poolclass=StaticPool)
        event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def write(self) -> Iterator[Any]:
        self.points.pass_by()
        if self.full:
            raise UnavailableError("the disk is full")
        with super().write() as connection:
            yield connection
            self.points.pass_by()
        self.points.pass_by()


class Ground:
    """What every world begins with: a database with models and groups, and their artifacts; made once a process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.artifacts = KeptArtifacts(self.folder / "artifacts")
        self.database = MemoryDatabase()
        self.database.upgrade()
        self.clock: Clock = lambda: EPOCH_MS
        self.assigner = Assigner(self.artifacts, load_profiles(), load_denials(), AgentSettings(health_s=3600.0))
        self.authority = load_authority(self.folder, dt.datetime.fromtimestamp(EPOCH_MS / 1000, dt.UTC))
        self.trust = self._trust()
        self.trust.begin(self.database, EPOCH_MS)
        registry = Models(self.database, self.artifacts, Announcer(), self.clock, lambda: None)
        for model in MODELS:
            for version in range(1, VERSIONS + 1):
                place = self.folder / f"{model}-{version}"
                registry.register(model, write_version(place, model, b"%d" % version, (ONNX,)), "operator")
        self.trust.tryout.sign()
        Groups(self.database, self.clock).create("all", "", "operator")
        self.image = self.database.raw.serialize()

    def _trust(self) -> Trust:
        """The trust chain, whose keys sign in every world; its clock is that of the world."""
        config, parts = ServerConfig(self.folder), (self.assigner, Announcer())
        return build_trust(config, self.database, self.artifacts, parts, lambda: self.clock(), run_trainer)

    def renew(self) -> MemoryDatabase:
        """Return the database as it was at the beginning."""
        self.database.raw.deserialize(self.image)
        self.database.points.crash_in, self.database.full = 0, False
        return self.database


class KeptArtifacts(ArtifactFolder):
    """The artifacts, each read from disk once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._kept: dict[str, bytes] = {}

    def read(self, digest: str) -> bytes:
        if digest not in self._kept:
            self._kept[digest] = super().read(digest)
        return self._kept[digest]


@functools.cache
def ground() -> Ground:
    """The ground of this process."""
    made = Ground()
    atexit.register(shutil.rmtree, made.folder, ignore_errors=True)
    return made


@contextmanager
def seeded_chance(rng: random.Random) -> Iterator[None]:
    """Let what the services draw by chance follow from the seed."""
    drawn = SimpleNamespace(
        token_hex=lambda n=16: rng.randbytes(n).hex(), token_urlsafe=lambda n=16: rng.randbytes(n).hex()
    )
    before = random.getstate()
    random.seed(rng.random())
    rollouts_room.secrets = enrolment_room.secrets = drawn  # type: ignore[attr-defined]
    try:
        yield
    finally:
        rollouts_room.secrets = enrolment_room.secrets = secrets  # type: ignore[attr-defined]
        random.setstate(before)
