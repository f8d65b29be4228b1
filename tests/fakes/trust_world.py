"""A device's trust for tests: both repositories, a state folder, and verification in this process at any time."""

import copy
import datetime as dt
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.adapters.trust_check import Device, held_of, verify_packs
from edge_agent.adapters.trust_floors import Floors
from edge_agent.adapters.trust_state import TrustState, install_roots
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.manifest import Runtime
from edge_agent.contract.messages import DesiredBundle, TrustHeld
from edge_agent.contract.trust import DIRECTOR, IMAGE
from edge_agent.core.trust_rules import Finding
from tests.fakes.trust_repository import FakeRepository, order, put, release, write_order

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MONTH = dt.timedelta(days=30)
BOARD = "generic"
DEVICE = "pi-1"


def bundle(version: int = 1, model: str = "digits", memory_mb: float = 16.5) -> DesiredBundle:
    digest = sha256(f"{model} {version}".encode())
    name = f"{model} parcel".encode()
    return DesiredBundle(
        model, version, "onnx-fp32", digest, sha256(name), "cohort", 1000, Runtime.ONNX, memory_mb, threshold=0.7
    )


@dataclass
class World:
    """What a table's row changes; `show` gives both packs to the device, `check` verifies them."""

    folder: Path
    now: dt.datetime = NOW
    device: str = DEVICE
    profile: str = BOARD
    seq_floor: int = 0
    kept: dict[str, bytes] = field(default_factory=dict)

    image: FakeRepository = field(default_factory=lambda: FakeRepository(expires=NOW + MONTH))
    director: FakeRepository = field(default_factory=lambda: FakeRepository(expires=NOW + MONTH))

    @property
    def state(self) -> TrustState:
        return TrustState(self.folder)

    def enrol(self) -> None:
        install_roots(self.folder, self.image.first_root, self.director.first_root)

    def clone(self, folder: Path) -> "World":
        """The same in another folder, to be changed apart."""
        shutil.copytree(self.folder, folder, symlinks=True)
        image, director = copy.deepcopy(self.image), copy.deepcopy(self.director)
        return replace(self, folder=folder, image=image, director=director, kept=dict(self.kept))

    def give(self, *versions: int, ts: dt.datetime | None = None) -> None:
        """Release versions and order the last of them, each repository signed anew."""
        for version in versions:
            put(self.image.targets, release(bundle(version)))
        self.image.publish()
        self.order(versions[-1], ts=ts)

    def order(self, version: int, *, device: str | None = None, ts: dt.datetime | None = None) -> None:
        """Order a version, signed anew."""
        self.note(device=device, ts=ts)
        self.director.targets.targets = {}
        put(self.director.targets, order(bundle(version), hardware=self.profile))
        self.director.publish()

    def note(self, *, device: str | None = None, ts: dt.datetime | None = None) -> None:
        """Write the director's note, not yet signed; the order is emptied."""
        at = self.now if ts is None else ts
        write_order(self.director, device or self.device, int(at.timestamp() * 1000))

    def show(self, *repositories: str) -> None:
        """Give the present packs to the device, of both or of the named repositories."""
        for name in repositories or (IMAGE, DIRECTOR):
            self.state.keep_pack(name, self.repository(name).pack())

    def repository(self, name: str) -> FakeRepository:
        return self.image if name == IMAGE else self.director

    def remember(self) -> None:
        """Keep the present packs for a replay."""
        self.kept = {name: self.repository(name).pack() for name in (IMAGE, DIRECTOR)}

    def replay(self, *repositories: str) -> None:
        """Give the device what was remembered."""
        for name in repositories or (IMAGE, DIRECTOR):
            self.state.keep_pack(name, self.kept[name])

    def check(self, now: dt.datetime | None = None) -> Finding:
        """Verify what the device has, with its clock at `now`."""
        return verify_packs(self.state, Device(self.device, self.profile, self.seq_floor), now or self.now)

    def held(self) -> TrustHeld:
        """What the device holds."""
        with Floors.open(self.state.floors) as floors:
            return held_of(floors, None)
