"""What passes between a board and the server when it is let in."""

from dataclasses import dataclass

from edge_agent.contract.messages import Capabilities
from edge_agent.contract.topics import check_device_id, check_digest


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """Body of `POST /api/v1/enrol`: a one-time token, the wanted id, the device's raw Ed25519 public key in hex."""

    token: str
    device: str
    public_key: str
    capabilities: Capabilities

    def __post_init__(self) -> None:
        check_device_id(self.device)
        check_digest(self.public_key)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Answer to an enrolment: the pinned server key, and the device's own random broker credentials.

    `image_root` and `director_root` are the root metadata (JSON texts) that the device pins of both repositories.
    `broker_ca` is the certificate (PEM) that the broker's TLS must chain to; absent on loopback, where there is no TLS.
    """

    device: str
    image_root: str
    director_root: str
    server_key: str
    topic_root: str
    broker_host: str
    broker_port: int
    broker_password: str
    broker_ca: str | None = None
