"""The device's TLS key and its request for a certificate. Imported only by what enrols and renews: it is heavy.

House rules: a key is made here and never leaves the board; each request has a new one. A certificate that comes back is
taken only where it is for this key and this device. Sources: FIPS 186-5 (P-256), RFC 2986 (PKCS #10), RFC 5280.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class CertificateError(ValueError):
    """What came is no certificate for this device and its key."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A new private key and the request for its certificate, both PEM."""

    device: str
    key: str = field(repr=False)
    csr: str


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a certificate is valid, in epoch seconds."""

    starts: float
    ends: float


def make_request(device: str) -> KeyRequest:
    """Make a key on P-256 and a request for a certificate with the subject CN=`device`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyRequest(device, plain.decode(), csr.public_bytes(serialization.Encoding.PEM).decode())


def check_certificate(certificate: str, request: KeyRequest) -> Lifetime:
    """Return how long a certificate is valid that answers a request.

    Raises:
        CertificateError: malformed, or for another key or another device.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        wanted = x509.load_pem_x509_csr(request.csr.encode())
        names = [item.value for item in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        same = found.public_key() == wanted.public_key()
    except ValueError as error:
        raise CertificateError(f"the server sent no certificate: {error}") from error
    if not same or names != [request.device]:
        raise CertificateError("the server sent a certificate for another key or another device")
    return Lifetime(found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())
