"""What the device signs: it verifies with its public key, by this project's code and by other implementations."""

import json

import pytest
from nacl.signing import SigningKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from edge_agent.adapters.trust import DeviceKey, key_id, new_seed, public_key
from edge_agent.contract.envelope import PayloadType, open_envelope, pre_authentication_encoding

SEED = bytes(reversed(range(32)))
SEALED = DeviceKey(SEED).sign(PayloadType.EVENT, b"payload")


def test_what_the_device_signs_verifies_with_its_public_key() -> None:
    envelope = open_envelope(SEALED, PayloadType.EVENT)
    key = public_key(SEED)
    signed = pre_authentication_encoding(PayloadType.EVENT, b"payload")
    SigningKey(SEED).verify_key.verify(signed, envelope.signatures[0].raw)
    assert envelope.content == b"payload"
    assert envelope.signatures[0].keyid == key_id(key)
    assert len(new_seed()) == 32
    assert new_seed() != new_seed()


def test_securesystemslib_reads_and_verifies_it() -> None:
    """The form is DSSE's own: the reference implementation finds the payload and the one good signature."""
    envelope = Envelope.from_dict(json.loads(SEALED))
    name = key_id(public_key(SEED))
    key = SSlibKey(name, "ed25519", "ed25519", {"public": public_key(SEED).hex()})
    assert envelope.payload == b"payload"
    assert set(envelope.verify([key], 1)) == {name}
    other = SSlibKey(name, "ed25519", "ed25519", {"public": public_key(new_seed()).hex()})
    with pytest.raises(VerificationError):
        envelope.verify([other], 1)
