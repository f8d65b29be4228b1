"""Signed documents of devices, opened: size, envelope, signature, payload, and whose it says it is."""

import enum
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, inflate, open_envelope, pre_authentication_encoding
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Event, Reported
from edge_agent.contract.window_packing import unpack_window
from edge_agent.contract.windows import Window

S = TypeVar("S", Reported, Event, Window, FeedbackRows)


class Rejected(enum.StrEnum):
    """Why a message of a device does not count."""

    BAD_TOPIC = "bad_topic"
    UNKNOWN_DEVICE = "unknown_device"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    WRONG_DEVICE = "wrong_device"
    WRONG_MODEL = "wrong_model"


class RejectedError(ValueError):
    """A message does not count, for a reason; the text has the detail."""

    def __init__(self, reason: Rejected, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def open_window(data: bytes, device: str, public_key: bytes) -> Window:
    """Return the signed window of a device, packed, or in JSON as of older agents; raises as `open_signed` does."""
    return _open(Window, (PayloadType.PACKED_WINDOW, PayloadType.WINDOW), data, device, public_key)


def open_signed(kind: type[S], expected: PayloadType, data: bytes, device: str, public_key: bytes) -> S:
    """Return the signed document of a device.

    Raises:
        RejectedError: too large, malformed, not signed by this key, or of another device than its topic says.
    """
    return _open(kind, (expected,), data, device, public_key)


def _open(kind: type[S], expected: tuple[PayloadType, ...], data: bytes, device: str, public_key: bytes) -> S:
    try:
        sealed = open_envelope(data, *expected)
        payload = sealed.content
        signatures = [signature.raw for signature in sealed.signatures]
    except codec.MalformedError as error:
        raise RejectedError(Rejected.MALFORMED, str(error)) from error
    signed = pre_authentication_encoding(sealed.payloadType, payload)
    if not any(_verifies(public_key, signature, signed) for signature in signatures):
        raise RejectedError(Rejected.BAD_SIGNATURE, f"no signature of {device}'s key over this {sealed.payloadType}")
    try:
        # The signature is checked first: nothing of a stranger's is decompressed.
        document = _read(kind, sealed.payloadType, payload)
    except codec.MalformedError as error:
        raise RejectedError(Rejected.MALFORMED, str(error)) from error
    if document.device != device:
        raise RejectedError(Rejected.WRONG_DEVICE, f"it speaks for {document.device[:64]!r}")
    return document


def _read(kind: type[S], form: PayloadType, payload: bytes) -> S:
    if kind is Window and form is PayloadType.PACKED_WINDOW:
        return unpack_window(payload)
    return codec.decode(kind, inflate(payload) if form.endswith("+zlib") else payload)


def _verifies(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except (InvalidSignature, ValueError):  # ValueError: the key or the signature has another length
        return False
    return True
