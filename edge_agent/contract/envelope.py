"""Signed documents: the Dead Simple Signing Envelope (DSSE v1.0.2), apart from any key.

House rules: the pre-authentication encoding binds the payload's type, so that a document signed as one thing never
passes as another. Keys are the callers': `edge_agent.adapters.trust` and `fleet_server.services.keys`.
Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
"""

import base64
import binascii
import zlib
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.contract import codec

MAX_ENVELOPE_BYTES = 256 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024


class PayloadType(StrEnum):
    """What a signed document is."""

    DESIRED = "application/vnd.edgeloop.desired+json"
    REPORTED = "application/vnd.edgeloop.reported+json"
    EVENT = "application/vnd.edgeloop.event+json"
    WINDOW = "application/vnd.edgeloop.window+json+zlib"
    PACKED_WINDOW = "application/vnd.edgeloop.window+packed"
    FEEDBACK = "application/vnd.edgeloop.feedback+json+zlib"
    RENEWAL = "application/vnd.edgeloop.renewal+json"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature over the envelope's pre-authentication encoding; `keyid` is a hint, never evidence."""

    keyid: str
    sig: str

    @property
    def raw(self) -> bytes:
        """The signature's bytes.

        Raises:
            codec.MalformedError: not base64.
        """
        return _unbase64(self.sig, "Signature.sig")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope; the field names are the specification's."""

    payloadType: PayloadType  # noqa: N815 - the specification's name
    payload: str
    signatures: tuple[Signature, ...]

    @property
    def content(self) -> bytes:
        """The payload's bytes.

        Raises:
            codec.MalformedError: not base64.
        """
        return _unbase64(self.payload, "Envelope.payload")


def pre_authentication_encoding(kind: PayloadType, payload: bytes) -> bytes:
    """Return the bytes to sign: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.value), kind.value.encode(), len(payload), payload)


def seal(kind: PayloadType, payload: bytes, keyid: str, signature: bytes) -> bytes:
    """Return an envelope's JSON for a payload and the signature over its pre-authentication encoding."""
    sealed = Envelope(
        kind, base64.b64encode(payload).decode(), (Signature(keyid, base64.b64encode(signature).decode()),)
    )
    return codec.encode(sealed)


def open_envelope(data: bytes, *expected: PayloadType) -> Envelope:
    """Parse an envelope of one of the expected types; its signatures are *not* checked here.

    Raises:
        codec.MalformedError: too large, no envelope, or of another type.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise codec.MalformedError(f"Envelope: {len(data)} bytes are over the limit of {MAX_ENVELOPE_BYTES}")
    found = codec.decode(Envelope, data)
    if found.payloadType not in expected:
        raise codec.MalformedError(f"Envelope: expected {' or '.join(expected)}, found {found.payloadType}")
    return found


def deflate(plain: bytes, dictionary: bytes = b"") -> bytes:
    """Compress a payload whose type ends in +zlib; `dictionary` is what both ends know of it."""
    stream = zlib.compressobj(9, zdict=dictionary)
    return stream.compress(plain) + stream.flush()


def inflate(packed: bytes, dictionary: bytes = b"") -> bytes:
    """Expand a payload whose type ends in +zlib, to at most `MAX_PAYLOAD_BYTES`.

    Raises:
        codec.MalformedError: not zlib, cut short, or larger.
    """
    stream = zlib.decompressobj(zdict=dictionary)
    try:
        plain = stream.decompress(packed, MAX_PAYLOAD_BYTES)
    except zlib.error as error:
        raise codec.MalformedError(f"payload: not zlib: {error}") from error
    if not stream.eof or stream.unused_data:
        raise codec.MalformedError(f"payload: cut short, followed by more, or over {MAX_PAYLOAD_BYTES} bytes")
    return plain


def _unbase64(text: str, at: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise codec.MalformedError(f"{at}: not base64: {error}") from error
