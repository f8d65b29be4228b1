"""What a device should run: a signed document on its own retained topic, the newest one only."""

from typing import Protocol

from edge_agent.contract import codec
from edge_agent.contract.envelope import MAX_ENVELOPE_BYTES, PayloadType, pre_authentication_encoding, seal
from edge_agent.contract.messages import Desired
from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.session import Session


class Signer(Protocol):
    """The server's online key."""

    @property
    def keyid(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the raw public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) of `data`."""
        ...


def seal_desired(desired: Desired, signer: Signer) -> bytes:
    """Return the signed envelope of a desired document.

    Raises:
        ValueError: it is larger than devices accept.
    """
    payload = codec.encode(desired)
    signature = signer.sign(pre_authentication_encoding(PayloadType.DESIRED, payload))
    sealed = seal(PayloadType.DESIRED, payload, signer.keyid, signature)
    if len(sealed) > MAX_ENVELOPE_BYTES:
        raise ValueError(
            f"a desired document of {len(sealed)} bytes is over the {MAX_ENVELOPE_BYTES} that devices take"
        )
    return sealed


class DesiredPublisher:
    """Publishes desired documents, retained: a device that was away finds the newest when it returns."""

    def __init__(self, session: Session, topics: Topics, signer: Signer) -> None:
        self._session = session
        self._topics = topics
        self._signer = signer

    def publish(self, desired: Desired) -> None:
        """Sign and publish; returns when the broker has it. A repeat does no harm.

        Raises:
            BrokerUnavailableError: try again later.
            ValueError: the document is too large.
        """
        self._session.publish(self._topics.desired(desired.device), seal_desired(desired, self._signer), retain=True)

    def clear(self, device: str) -> None:
        """Take away all that is retained for or from a device that was removed.

        Raises:
            BrokerUnavailableError: try again later.
        """
        topics = (
            self._topics.desired(device),
            self._topics.up(device, Up.REPORTED),
            self._topics.up(device, Up.STATUS),
        )
        self._session.publish_many([(topic, b"") for topic in topics], retain=True)
