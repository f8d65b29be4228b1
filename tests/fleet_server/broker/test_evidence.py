"""Signed documents: only a device's own, whole and of the right kind, count."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.contract.envelope import PayloadType, deflate
from edge_agent.contract.messages import Event, Reported
from edge_agent.contract.windows import Window
from fleet_server.broker.evidence import Rejected, RejectedError, open_signed
from tests.fakes.mqtt_devices import FakeDevice, window_counts

DEVICE = FakeDevice("cam-1")
OTHER = FakeDevice("cam-2")


def reason(kind: type[Reported] | type[Event] | type[Window], expected: PayloadType, data: bytes) -> Rejected:
    with pytest.raises(RejectedError) as caught:
        open_signed(kind, expected, data, "cam-1", DEVICE.public_key)
    return caught.value.reason


def test_a_devices_own_documents_count() -> None:
    report, event, window = DEVICE.report(1), DEVICE.event(1), DEVICE.window(1, window_counts())
    key = DEVICE.public_key
    assert open_signed(Reported, PayloadType.REPORTED, DEVICE.seal(report), "cam-1", key) == report
    assert open_signed(Event, PayloadType.EVENT, DEVICE.seal(event), "cam-1", key) == event
    assert open_signed(Window, PayloadType.WINDOW, DEVICE.seal(window), "cam-1", key) == window


def test_what_does_not_count_has_a_reason() -> None:
    report = PayloadType.REPORTED
    assert reason(Reported, report, b"") is Rejected.MALFORMED
    assert reason(Reported, report, b"x" * 300_000) is Rejected.MALFORMED
    assert reason(Reported, report, DEVICE.seal(DEVICE.event(1))) is Rejected.MALFORMED
    assert reason(Reported, report, OTHER.seal(DEVICE.report(1))) is Rejected.BAD_SIGNATURE
    assert reason(Reported, report, DEVICE.seal(OTHER.report(1))) is Rejected.WRONG_DEVICE
    assert reason(Reported, report, DEVICE.seal_bytes(report, b"{}")) is Rejected.MALFORMED
    assert reason(Window, PayloadType.WINDOW, DEVICE.seal_bytes(PayloadType.WINDOW, b"{}")) is Rejected.MALFORMED
    bomb = deflate(b" " * 5_000_000)
    assert reason(Window, PayloadType.WINDOW, DEVICE.seal_bytes(PayloadType.WINDOW, bomb)) is Rejected.MALFORMED


def test_one_changed_byte_anywhere_never_counts() -> None:
    sealed = DEVICE.seal(DEVICE.report(1))
    for place in range(0, len(sealed), 7):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        try:
            found = open_signed(Reported, PayloadType.REPORTED, changed, "cam-1", DEVICE.public_key)
        except RejectedError:
            continue
        assert found == DEVICE.report(1)  # the change was in the key's hint, which is no evidence


def test_a_key_of_another_length_verifies_nothing() -> None:
    with pytest.raises(RejectedError, match="no signature"):
        open_signed(Reported, PayloadType.REPORTED, DEVICE.seal(DEVICE.report(1)), "cam-1", b"short")
    assert len(Ed25519PrivateKey.generate().public_key().public_bytes_raw()) == 32
