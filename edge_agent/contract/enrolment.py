"""What passes between a board and the server when it is let in."""

from dataclasses import dataclass

from edge_agent.contract.messages import Capabilities
from edge_agent.contract.topics import check_device_id, check_digest


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """Body of `POST /api/v1/enrol`: a one-time token, the wanted id, the device's raw Ed25519 public key in hex.

    `csr` is a certificate request (PKCS #10, PEM) for another key, on P-256, with the subject CN=`device`.
    """

    token: str
    device: str
    public_key: str
    capabilities: Capabilities
    csr: str | None = None

    def __post_init__(self) -> None:
        check_device_id(self.device)
        check_digest(self.public_key)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Answer to an enrolment: the roots of trust, where the broker is, and what lets the device in there.

    `image_root` and `director_root` are the root metadata (JSON texts) that the device pins of both repositories.
    `broker_ca` is the certificate (PEM) that the broker's TLS must chain to, absent where there is no TLS.
    `certificate` (PEM) is the device's own; where `pending` it comes later, by renewal, when an operator has approved.
    `broker_password` is for brokers that do not take the fleet's certificates.
    """

    device: str
    image_root: str
    director_root: str
    topic_root: str
    broker_host: str
    broker_port: int
    broker_password: str | None = None
    broker_ca: str | None = None
    certificate: str | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Challenge:
    """Answer to `GET /api/v1/renew`: what the next request must hold, so that an old one is worth nothing."""

    nonce: str


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """Signed by the device's Ed25519 key, in a DSSE envelope, as the body of `POST /api/v1/renew`.

    The challenge stands in for a clock: a board may boot in 1970, and its certificate may have expired.
    """

    device: str
    csr: str
    nonce: str

    def __post_init__(self) -> None:
        check_device_id(self.device)


@dataclass(frozen=True, slots=True)
class Renewal:
    """Answer to a renewal: the new certificate (PEM), or none while an operator's approval is `pending`.

    With neither, the device is let in, and the broker knows it by its password.
    """

    certificate: str | None = None
    pending: bool = False
