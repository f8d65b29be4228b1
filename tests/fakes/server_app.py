"""The whole server over a wire in memory, turned by hand; and boards that report what a test lets them report."""

import asyncio
import contextlib
import datetime as dt
import functools
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

import trainer.cli
from edge_agent.contract import codec
from edge_agent.contract.messages import Capabilities, Desired, Outcome, Proof, Reported, Running, Status, TrustHeld
from edge_agent.contract.states import Presence, Reason, Result
from fleet_server.composition import Composition, Outside
from fleet_server.config import ServerConfig
from fleet_server.services.keys import load_authority, load_signing_key
from fleet_server.services.tryout import TrainerError
from fleet_server.services.wire import Contact
from fleet_server.store.database import Database
from tests.fakes.server_broker import MemoryAccounts, MemoryWire
from tests.fakes.server_versions import read_files, write_version


@dataclass
class TurningClock:
    """A clock that a test turns; epoch milliseconds."""

    ms: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms

    def pass_s(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class Board:
    """A simulated device: it runs what it last said, and answers the desired document as told."""

    id: str
    fleet: "Served"
    runtimes: dict[str, str] = field(default_factory=lambda: {"onnx": "1.23"})
    profile: str = "made-up"
    boot: int = 1
    seq: int = 0
    running: tuple[Running, ...] = ()
    desired_seq: int = 0
    said: Reported | None = None
    trust: TrustHeld = field(default_factory=TrustHeld)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            "aarch64", 4, 4096.0, 3000.0, 9000.0, self.runtimes, "3.11", "0.1.0", self.profile, simulated=True
        )

    def desired(self) -> Desired:
        return self.fleet.wire.desired[self.id]

    def succeed(self) -> None:
        """Take the desired set, and attest it."""
        wanted = self.desired()
        self.running = tuple(
            Running(item.model, item.version, item.variant, item.digest, attested=True) for item in wanted.bundles
        )
        self.desired_seq = wanted.seq
        proofs = tuple(Proof(item.digest, 4, 0.0, 1.0, 9.0, 12.0, 3.0, 30.0, 40.0) for item in wanted.bundles)
        self.report(Outcome(wanted.seq, Result.SUCCEEDED, Reason.OK, "", 0, proofs=proofs))

    def fail(self, model: str | None = None, reason: Reason = Reason.NON_FINITE_OUTPUT) -> None:
        """Try the desired set, restore what ran before, and say why."""
        self.desired_seq = self.desired().seq
        self.report(Outcome(self.desired_seq, Result.FAILED, reason, "3 of 20 rows", 0, model=model))

    def report(self, outcome: Outcome | None = None) -> Reported:
        self.seq += 1
        said = self.desired_seq, self.running, self.capabilities(), None, outcome, self.trust
        made = Reported(self.id, self.boot, self.seq, 0, *said)
        self.said = made
        self.repeat()
        return made

    def repeat(self) -> None:
        """Say again what was said last, as a device does on every connection."""
        if self.said is not None:
            self.fleet.server.intake.on_reported(self.said)
            self.fleet.turn()

    def come_online(self) -> None:
        self.fleet.server.intake.on_status(self.id, Status(Presence.READY, self.boot, 0))


class Client:
    """A plain client of the application, without a socket."""

    def __init__(self, app: FastAPI, headers: dict[str, str]) -> None:
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._http.request(method, path, **options))

    def close(self) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()


@dataclass
class Served:
    """A server with its client; `turn` does what the controller's loop does once."""

    server: Composition
    client: Client
    wire: MemoryWire
    accounts: MemoryAccounts
    clock: TurningClock
    key: str
    folder: Path
    generation: int = -1

    def turn(self) -> None:
        self.generation = self.server.turn(self.generation)

    def call(self, method: str, path: str, expected: int = 200, **options: Any) -> Any:
        answer = self.client.request(method, f"/api/v1{path}", **options)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    def token(self, **wishes: Any) -> str:
        return str(self.call("POST", "/tokens", 201, json=wishes)["token"])

    def enrol(self, device: str, token: str | None = None, **more: Any) -> Board:
        board = Board(device, self, **more)
        body = {
            "token": token or self.token(),
            "device": device,
            "public_key": "ab" * 32,
            "capabilities": codec.to_plain(board.capabilities()),
        }
        self.call("POST", "/enrol", json=body)
        board.come_online()
        return board

    def upload(self, name: str, content: bytes, model: str = "digits") -> Any:
        place = write_version(self.folder / name, model, content)
        return self.call("POST", f"/models/{model}/versions", 201, files=read_files(place))

    def group(self, name: str = "all", query: str = "") -> None:
        self.call("POST", "/groups", 201, json={"name": name, "query": query})

    def roll(self, version: int, **wishes: Any) -> str:
        body = {"model": "digits", "version": version, "group": "all"} | wishes
        made = self.call("POST", "/rollouts", 201, json=body)
        self.turn()
        return str(made["id"])

    def rollout(self, identity: str) -> Any:
        return self.call("GET", f"/rollouts/{identity}")

    def states(self, identity: str) -> dict[str, str]:
        phases = self.rollout(identity)["phases"]
        return {item["device"]: item["state"] for phase in phases for item in phase["devices"]}


@functools.cache
def migrated_file() -> bytes:
    """The bytes of a database that all migrations made, so that each test need not make them again."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database.at(Path(folder) / "server.db")
        database.upgrade()
        database.close()
        return (Path(folder) / "server.db").read_bytes()


def run_trainer_here(arguments: Sequence[str]) -> None:
    """Run the trainer's command in this process: the same command, without a new interpreter for each test."""
    with contextlib.redirect_stdout(io.StringIO()):
        code = trainer.cli.main(list(arguments))
    if code != 0:
        raise TrainerError(f"trainer {arguments[:2]} ended with {code}")


@contextmanager
def served(
    folder: Path, wire: MemoryWire | None = None, accounts: MemoryAccounts | None = None, **settings: Any
) -> Iterator[Served]:
    """Run the server on a data folder; a second time on the same folder is a restart."""
    wire, accounts, clock = wire or MemoryWire(), accounts or MemoryAccounts(), TurningClock()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (data / "server.db").exists():
        (data / "server.db").touch(mode=0o600)
        (data / "server.db").write_bytes(migrated_file())
    now = dt.datetime.now(dt.UTC)
    outside = Outside(
        wire=wire,
        accounts=accounts,
        contact=Contact("127.0.0.1", 1883, "edgeloop/v1"),
        signing=load_signing_key(data / "keys"),
        authority=load_authority(data / "keys", now),
        broker_kind="memory",
        broker_address="memory",
        notes=(),
        url="http://testserver",
    )
    server = Composition(ServerConfig(data_dir=data, **settings), outside, clock, run_trainer_here)
    server.prepare()
    key, _ = server.operator_key(None)
    client = Client(server.application, {"Authorization": f"Bearer {key}"})
    try:
        yield Served(server, client, wire, accounts, clock, key, folder)
    finally:
        client.close()
        server.close()
