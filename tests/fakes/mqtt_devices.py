"""Devices as the broker sees them: keys, and signed documents that are complete and small."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, deflate, pre_authentication_encoding, seal
from edge_agent.contract.feedback import FeedbackRows, LabelledRow
from edge_agent.contract.messages import Capabilities, Event, Reported, Running
from edge_agent.contract.states import EventCode
from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Window, WindowCounts

KINDS = {
    Reported: PayloadType.REPORTED,
    Event: PayloadType.EVENT,
    Window: PayloadType.WINDOW,
    FeedbackRows: PayloadType.FEEDBACK,
}


def key_of(name: str) -> Ed25519PrivateKey:
    """Return a key that follows from a name, so that tests repeat."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


class FakeSigner:
    """A server's key for tests."""

    def __init__(self, name: str = "server") -> None:
        self._key = key_of(name)
        self.public_key = self._key.public_key().public_bytes_raw()

    @property
    def keyid(self) -> str:
        """The hint that envelopes carry."""
        return hashlib.sha256(self.public_key).hexdigest()[:16]

    def sign(self, data: bytes) -> bytes:
        """Sign for real."""
        return self._key.sign(data)


class FakeDevice:
    """A device's documents, signed by its own key."""

    def __init__(self, name: str, boot: int = 1) -> None:
        self.name = name
        self.boot = boot
        self._signer = FakeSigner(name)
        self.public_key = self._signer.public_key

    def seal(self, document: Reported | Event | Window | FeedbackRows) -> bytes:
        """Return the signed envelope of a document."""
        kind, payload = KINDS[type(document)], codec.encode(document)
        return self.seal_bytes(kind, deflate(payload) if kind.endswith("+zlib") else payload)

    def seal_bytes(self, kind: PayloadType, payload: bytes) -> bytes:
        """Return the signed envelope of any bytes."""
        return seal(kind, payload, self._signer.keyid, self._signer.sign(pre_authentication_encoding(kind, payload)))

    def report(self, seq: int, desired_seq: int = 0, running: tuple[Running, ...] = ()) -> Reported:
        """Return a report."""
        return Reported(self.name, self.boot, seq, 0, desired_seq, running, capabilities())

    def event(self, n: int) -> Event:
        """Return an event."""
        return Event(self.name, self.boot, n, 0, EventCode.BOOTED)

    def window(self, number: int, counts: WindowCounts) -> Window:
        """Return a window of version 1 of the model `digits`."""
        return Window(self.name, self.boot, number, "digits", 1, "a" * 64, 0, 1000, counts)

    def feedback(self, number: int, rows: int = 2, model: str = "digits") -> FeedbackRows:
        """Return labelled rows of version 1 of a model with two columns."""
        found = tuple(LabelledRow((float(number), float(row)), row, 0) for row in range(rows))
        return FeedbackRows(self.name, self.boot, number, model, 1, "a" * 64, 0, found, ("a", "b"))


def capabilities(**changes: object) -> Capabilities:
    """Return a Raspberry Pi 4 with ONNX Runtime, changed as named."""
    plain: dict[str, object] = {
        "arch": "aarch64",
        "cores": 4,
        "memory_mb": 4096.0,
        "memory_free_mb": 2048.0,
        "disk_free_mb": 8000.0,
        "runtimes": {"onnx": "1.24"},
        "python": "3.11",
        "agent": "0.1.0",
        "profile": "pi4",
    }
    return codec.from_plain(Capabilities, {**plain, **changes})


def window_counts(rows: int = 3) -> WindowCounts:
    """Return counts of one feature and two labels."""
    latency = (rows,) + (0,) * (LATENCY_BUCKETS - 1)
    return WindowCounts(rows, 0, 0, (FeatureCounts((rows, 0)),), (rows, 0), (), latency)
