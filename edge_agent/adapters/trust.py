"""Keys of this device, and whom it believes: Ed25519 signatures over DSSE envelopes.

House rules: everything that decides which documents are acted upon is behind `Trust.verify_desired`, so that a richer
scheme can take its place. Fail closed, with a reason of the contract. Keys are raw 32 bytes, in hex where they are
text; a key's id is the first 16 hex digits of its SHA-256.
"""

import hashlib

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, open_envelope, pre_authentication_encoding, seal
from edge_agent.contract.messages import Desired
from edge_agent.contract.states import Reason

SEED_BYTES = 32


class DistrustedError(Exception):
    """A document is not to be acted upon; `reason` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def key_id(public_key: bytes) -> str:
    """Return the id of a raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def new_seed() -> bytes:
    """Return the 32 secret bytes of a new device key."""
    return bytes(SigningKey.generate())


def public_key(seed: bytes) -> bytes:
    """Return the raw public key that belongs to a seed."""
    return bytes(SigningKey(seed).verify_key)


class Trust:
    """The device's own key and the server's pinned one."""

    def __init__(self, device: str, seed: bytes, server_key: bytes) -> None:
        self._device = device
        self._key = SigningKey(seed)
        self._key_id = key_id(bytes(self._key.verify_key))
        self._server = VerifyKey(server_key)

    def sign(self, kind: PayloadType, payload: bytes) -> bytes:
        """Return `payload` in an envelope with this device's signature."""
        signature = self._key.sign(pre_authentication_encoding(kind, payload)).signature
        return seal(kind, payload, self._key_id, signature)

    def verify_desired(self, data: bytes) -> Desired:
        """Return the desired document that the pinned server signed for this device.

        Raises:
            DistrustedError: malformed, not signed by the pinned key, or for another device.
        """
        try:
            envelope = open_envelope(data, PayloadType.DESIRED)
            payload = envelope.content
            signatures = [signature.raw for signature in envelope.signatures]
        except codec.MalformedError as error:
            raise DistrustedError(Reason.MALFORMED, str(error)) from error
        signed = pre_authentication_encoding(envelope.payloadType, payload)
        if not any(self._verifies(signed, signature) for signature in signatures):
            raise DistrustedError(Reason.BAD_SIGNATURE, "no signature of the pinned server key is on the document")
        try:
            desired = codec.decode(Desired, payload)
        except codec.MalformedError as error:
            raise DistrustedError(Reason.MALFORMED, str(error)) from error
        if desired.device != self._device:
            detail = f"the document is for {desired.device!r}, this device is {self._device!r}"
            raise DistrustedError(Reason.WRONG_DEVICE, detail)
        return desired

    def _verifies(self, signed: bytes, signature: bytes) -> bool:
        try:
            self._server.verify(signed, signature)
        except (BadSignatureError, ValueError, TypeError):
            return False
        return True
