"""A complete broker in memory behind the services' own interfaces: retained topics, accounts, connection losses."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from edge_agent.contract.artifacts import parse_parcel, sha256
from edge_agent.contract.messages import Desired, Get
from edge_agent.contract.trust import IMAGE
from fleet_server.services.wire import Traffic
from tests.fakes.packs import verified_order


@dataclass
class MemoryWire:
    """What the broker holds: chunks by cohort, packs, the document that each device's pack says, answered blocks.

    A director's pack is verified as a device does, together with the image repository's pack that is held then.
    """

    connected: bool = True
    generation: int = 1
    chunks: dict[tuple[str, str], bytes] = field(default_factory=dict)
    trust: dict[str, bytes] = field(default_factory=dict)
    packs: dict[str, bytes] = field(default_factory=dict)
    desired: dict[str, Desired] = field(default_factory=dict)
    history: list[Desired] = field(default_factory=list)
    answered: list[tuple[str, str]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    fails_for: set[str] = field(default_factory=set)
    sent_bytes: int = 0

    def lose_everything(self) -> None:
        """Be another broker from now on, which holds nothing."""
        self.generation += 1
        self.chunks.clear()
        self.desired.clear()
        self.trust.clear()
        self.packs.clear()

    def forget(self, device: str) -> None:
        self.forgotten.append(device)

    def traffic(self) -> Traffic:
        return Traffic(messages_out=len(self.history), chunk_bytes_out=self.sent_bytes)

    def ship(self, cohort: str, parcel: bytes, read: Callable[[str], bytes]) -> None:
        self._check("")
        wanted = {sha256(parcel): parcel} | {digest: read(digest) for digest in parse_parcel(parcel).chunks}
        for digest, data in wanted.items():
            assert sha256(data) == digest
            if (cohort, digest) not in self.chunks:
                self.chunks[cohort, digest] = data
                self.sent_bytes += len(data)

    def take_down(self, cohort: str, digests: Collection[str]) -> None:
        self._check("")
        for digest in digests:
            del self.chunks[cohort, digest]

    def publish_trust(self, repository: str, pack: bytes) -> None:
        self._check(repository)
        self.trust[repository] = pack

    def publish(self, device: str, pack: bytes) -> None:
        self._check(device)
        desired = verified_order(pack, self.trust.get(IMAGE))
        assert desired.device == device
        for bundle in desired.bundles:
            parcel = self.chunks[bundle.cohort, bundle.parcel]  # chunks come first: a KeyError is a broken promise
            assert all((bundle.cohort, digest) in self.chunks for digest in parse_parcel(parcel).chunks)
        self.packs[device], self.desired[device] = pack, desired
        self.history.append(desired)

    def clear(self, device: str) -> None:
        self._check(device)
        self.desired.pop(device, None)
        self.packs.pop(device, None)

    def answer(self, device: str, get: Get, allowed: Collection[str], read: Callable[[str], bytes]) -> int:
        found = [digest for digest in get.digests if digest in allowed]
        self.answered += [(device, digest) for digest in found if sha256(read(digest)) == digest]
        return len(found)

    def _check(self, device: str) -> None:
        if not self.connected or device in self.fails_for:
            raise ConnectionError("the broker is away")


@dataclass
class MemoryAccounts:
    """Accounts by device: password (none, where devices come by certificate) and cohort; and who is locked out."""

    held: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    ended: list[str] = field(default_factory=list)
    broken: bool = False
    certificates: bool = False
    reloads: int = 0

    def add(self, device: str, password: str | None, cohort: str) -> None:
        self._check()
        assert (password is None) == self.certificates
        self.held[device] = (password, cohort)
        self.out.discard(device)

    def remove(self, device: str) -> None:
        self._check()
        self.held.pop(device, None)
        self.out.add(device)

    def end_session(self, device: str) -> None:
        self._check()
        assert device in self.out, "a session is ended after its device was muted"
        self.ended.append(device)

    def denied(self) -> frozenset[str]:
        return frozenset(self.out)

    def forget(self, devices: Collection[str]) -> None:
        self._check()
        self.out.difference_update(devices)

    def reload(self) -> None:
        self._check()
        self.reloads += 1

    def devices(self) -> frozenset[str]:
        return frozenset(self.held)

    def _check(self) -> None:
        if self.broken:
            raise ConnectionError("the broker's files cannot be written")
