"""Which documents the device acts upon: wrong key, wrong device, cut, altered, and how it signs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from edge_agent.adapters.trust import DistrustedError, Trust, key_id, new_seed, public_key
from edge_agent.contract import codec
from edge_agent.contract.envelope import Envelope, PayloadType, open_envelope, pre_authentication_encoding, seal
from edge_agent.contract.messages import Desired
from edge_agent.contract.states import Reason
from tests.fakes.agent import sign_desired

SERVER = SigningKey(bytes(range(32)))
SEED = bytes(reversed(range(32)))
TRUST = Trust("dev", SEED, bytes(SERVER.verify_key))
DESIRED = Desired("dev", 7, 1, ())
GOOD = sign_desired(DESIRED, SERVER)


def refusal(data: bytes) -> Reason:
    with pytest.raises(DistrustedError) as caught:
        TRUST.verify_desired(data)
    assert caught.value.detail
    return caught.value.reason


def test_the_pinned_servers_document_is_believed() -> None:
    assert TRUST.verify_desired(GOOD) == DESIRED


def test_another_key_is_not() -> None:
    assert refusal(sign_desired(DESIRED, SigningKey.generate())) is Reason.BAD_SIGNATURE


def test_another_devices_document_is_not() -> None:
    assert refusal(sign_desired(Desired("other", 7, 1, ()), SERVER)) is Reason.WRONG_DEVICE


def test_a_document_signed_as_something_else_is_not() -> None:
    payload = codec.encode(DESIRED)
    as_event = SERVER.sign(pre_authentication_encoding(PayloadType.EVENT, payload)).signature
    assert refusal(seal(PayloadType.DESIRED, payload, "x", as_event)) is Reason.BAD_SIGNATURE
    assert refusal(seal(PayloadType.EVENT, payload, "x", as_event)) is Reason.MALFORMED


def test_every_truncated_prefix_is_refused() -> None:
    for length in range(len(GOOD)):
        assert refusal(GOOD[:length]) in (Reason.MALFORMED, Reason.BAD_SIGNATURE)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    assert refusal(data) is Reason.MALFORMED


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_an_altered_payload_or_signature_is_refused(place: int, flip: int) -> None:
    envelope = codec.decode(Envelope, GOOD)
    payload, signature = bytearray(envelope.content), bytearray(envelope.signatures[0].raw)
    altered = payload if place % 2 else signature
    altered[place % len(altered)] ^= flip
    assert refusal(seal(PayloadType.DESIRED, bytes(payload), "x", bytes(signature))) is Reason.BAD_SIGNATURE


def test_signatures_of_any_length_and_none_are_refused() -> None:
    for length in (0, 1, 63, 65, 1000):
        assert refusal(seal(PayloadType.DESIRED, codec.encode(DESIRED), "x", b"s" * length)) is Reason.BAD_SIGNATURE
    unsigned = json.loads(GOOD) | {"signatures": []}
    assert refusal(json.dumps(unsigned).encode()) is Reason.BAD_SIGNATURE


def test_one_good_signature_among_others_is_enough_and_key_ids_prove_nothing() -> None:
    envelope = json.loads(GOOD)
    envelope["signatures"] = [{"keyid": "x", "sig": "AAAA"}, envelope["signatures"][0] | {"keyid": "wrong"}]
    assert TRUST.verify_desired(json.dumps(envelope).encode()) == DESIRED


def test_a_signed_document_that_is_none_is_malformed() -> None:
    payload = b'{"device":"dev"}'
    signature = SERVER.sign(pre_authentication_encoding(PayloadType.DESIRED, payload)).signature
    assert refusal(seal(PayloadType.DESIRED, payload, "x", signature)) is Reason.MALFORMED


def test_what_the_device_signs_verifies_with_its_public_key() -> None:
    envelope = open_envelope(TRUST.sign(PayloadType.EVENT, b"payload"), PayloadType.EVENT)
    key = public_key(SEED)
    signed = pre_authentication_encoding(PayloadType.EVENT, b"payload")
    SigningKey(SEED).verify_key.verify(signed, envelope.signatures[0].raw)
    assert envelope.content == b"payload"
    assert envelope.signatures[0].keyid == key_id(key)
    assert len(new_seed()) == 32
    assert new_seed() != new_seed()
