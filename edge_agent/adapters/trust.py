"""The device's own key: Ed25519 signatures over DSSE envelopes, for all that the device says and decisions rest on.

House rules: keys are raw 32 bytes, in hex where they are text; a key's id is the first 16 hex digits of its SHA-256.
Whom the device believes is another matter: see `trust_check`.
"""

import hashlib

from nacl.signing import SigningKey

from edge_agent.contract.envelope import PayloadType, pre_authentication_encoding, seal

SEED_BYTES = 32


def key_id(public_key: bytes) -> str:
    """Return the id of a raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def new_seed() -> bytes:
    """Return the 32 secret bytes of a new device key."""
    return bytes(SigningKey.generate())


def public_key(seed: bytes) -> bytes:
    """Return the raw public key that belongs to a seed."""
    return bytes(SigningKey(seed).verify_key)


class DeviceKey:
    """The key that this device signs with."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self._key_id = key_id(bytes(self._key.verify_key))

    def sign(self, kind: PayloadType, payload: bytes) -> bytes:
        """Return `payload` in an envelope with this device's signature."""
        signature = self._key.sign(pre_authentication_encoding(kind, payload)).signature
        return seal(kind, payload, self._key_id, signature)
