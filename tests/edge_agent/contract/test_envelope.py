"""Envelopes: the specification's own vector, round trips, and everything that is not one."""

import base64
import zlib
from enum import StrEnum
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract import codec
from edge_agent.contract.codec import MalformedError
from edge_agent.contract.envelope import (
    MAX_ENVELOPE_BYTES,
    MAX_PAYLOAD_BYTES,
    PayloadType,
    deflate,
    inflate,
    open_envelope,
    pre_authentication_encoding,
    seal,
)


class _Published(StrEnum):
    """The payload type of the specification's test vector."""

    HELLO = "http://example.com/HelloWorld"


def test_the_specifications_vector_verifies() -> None:
    """The signature that the DSSE specification publishes holds over our pre-authentication encoding.

    Source: protocol.md of DSSE v1.0.2, "Test Vectors": ECDSA over NIST P-256 and SHA-256, signature as r and s.
    """
    encoded = pre_authentication_encoding(cast("PayloadType", _Published.HELLO), b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key.verify(signature, encoded, ec.ECDSA(hashes.SHA256()))


@given(
    payload=st.binary(max_size=200), signature=st.binary(min_size=64, max_size=64), kind=st.sampled_from(PayloadType)
)
def test_what_is_sealed_opens(payload: bytes, signature: bytes, kind: PayloadType) -> None:
    """Payload, type, key hint and signature come back byte for byte."""
    opened = open_envelope(seal(kind, payload, "k1", signature), kind)
    assert (opened.payloadType, opened.content, opened.signatures[0].keyid) == (kind, payload, "k1")
    assert opened.signatures[0].raw == signature


@given(
    a=st.tuples(st.sampled_from(PayloadType), st.binary(max_size=40)),
    b=st.tuples(st.sampled_from(PayloadType), st.binary(max_size=40)),
)
def test_no_two_documents_share_an_encoding(a: tuple[PayloadType, bytes], b: tuple[PayloadType, bytes]) -> None:
    """What is signed says its type and length, so one document never passes as another."""
    assert (pre_authentication_encoding(*a) == pre_authentication_encoding(*b)) == (a == b)


def test_another_type_is_refused() -> None:
    """A signed report is no desired document, whoever signed it."""
    sealed = seal(PayloadType.REPORTED, b"{}", "k", b"s" * 64)
    with pytest.raises(MalformedError, match=r"expected application/vnd\.edgeloop\.desired\+json, found"):
        open_envelope(sealed, PayloadType.DESIRED)


def test_every_truncated_prefix_is_refused() -> None:
    """A cut envelope is no envelope."""
    sealed = seal(PayloadType.EVENT, b'{"a":1}', "k", b"s" * 64)
    for length in range(len(sealed)):
        with pytest.raises(MalformedError):
            open_envelope(sealed[:length], PayloadType.EVENT)


def test_what_is_too_large_is_not_even_parsed() -> None:
    """The limit is on bytes."""
    with pytest.raises(MalformedError, match="over the limit"):
        open_envelope(b" " * (MAX_ENVELOPE_BYTES + 1), PayloadType.EVENT)


@pytest.mark.parametrize("text", ["a", "!!!!", "YQ", "YQ==\n", "ü", "-_-_"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    """Payload and signature are strict base64: one text for one content."""
    plain: dict[str, Any] = {
        "payloadType": PayloadType.EVENT,
        "payload": text,
        "signatures": [{"keyid": "k", "sig": text}],
    }
    opened = open_envelope(codec.encode(plain), PayloadType.EVENT)
    with pytest.raises(MalformedError, match=r"Envelope\.payload: not base64"):
        _ = opened.content
    with pytest.raises(MalformedError, match=r"Signature\.sig: not base64"):
        _ = opened.signatures[0].raw


@given(plain=st.binary(max_size=500))
def test_a_deflated_payload_comes_back_whole_or_not_at_all(plain: bytes) -> None:
    """Round trip; each truncated prefix, and anything after the end, is refused."""
    packed = deflate(plain)
    assert inflate(packed) == plain
    for length in range(len(packed)):
        with pytest.raises(MalformedError):
            inflate(packed[:length])
    with pytest.raises(MalformedError, match="followed by more"):
        inflate(packed + b"x")


def test_a_payload_that_would_grow_too_large_is_refused() -> None:
    """A few kilobytes cannot claim more memory than the limit."""
    assert len(inflate(zlib.compress(bytes(MAX_PAYLOAD_BYTES)))) == MAX_PAYLOAD_BYTES
    with pytest.raises(MalformedError, match=f"over {MAX_PAYLOAD_BYTES} bytes"):
        inflate(zlib.compress(bytes(MAX_PAYLOAD_BYTES + 1)))


@given(garbage=st.binary(max_size=100))
def test_garbage_is_refused(garbage: bytes) -> None:
    """Neither door raises anything but MalformedError."""
    with pytest.raises(MalformedError):
        open_envelope(garbage, PayloadType.DESIRED)
    with pytest.raises(MalformedError):
        inflate(garbage)
