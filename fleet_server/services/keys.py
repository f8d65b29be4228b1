"""The server's own keys: Ed25519 for signing, and a certificate authority with a TLS certificate for its listeners.

House rules: private keys are files of mode 0600, written durably before they are used; what exists is never replaced,
but for the listeners' certificate, which is made anew when it nears its end or its names change.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.store.artifacts import write_durably

SIGNING_KEY_NAME = "server-key.pem"
_CA_DAYS = 3650
_CERTIFICATE_DAYS = 397
_RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The server's Ed25519 key; `public` is the raw public key in hexadecimal, `keyid` 16 digits of its SHA-256."""

    private: Ed25519PrivateKey
    public: str
    keyid: str

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`."""
        return self.private.sign(data)


@dataclass(frozen=True, slots=True)
class Authority:
    """The fleet's own certificate authority; `pin` is the SHA-256 of the certificate's DER in hexadecimal.

    Enrolment tokens end with the pin.
    """

    certificate: Path
    key: Path
    pem: str
    pin: str


@dataclass(frozen=True, slots=True)
class ListenerFiles:
    """Certificate and key of the server's listeners, and the authority's certificate."""

    certificate: Path
    key: Path
    ca: Path


def load_signing_key(folder: Path) -> SigningKey:
    """Return the server's signing key in `folder`, made there on the first call.

    Raises:
        OSError: the folder cannot be read or written.
        ValueError: the file there is no Ed25519 key.
    """
    path = folder / SIGNING_KEY_NAME
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, _private_pem(Ed25519PrivateKey.generate()))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 key")  # noqa: TRY004 - the content of a file, not a caller's type
    raw = key.public_key().public_bytes_raw()
    return SigningKey(key, raw.hex(), sha256(raw).hexdigest()[:16])


def verify_signature(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature over `data` is that of a raw Ed25519 public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def load_authority(folder: Path, now: dt.datetime) -> Authority:
    """Return the fleet's certificate authority in `folder`, made there on the first call.

    Raises:
        OSError: the folder cannot be read or written.
    """
    certificate, key_path = folder / "ca.pem", folder / "ca-key.pem"
    if not (certificate.exists() and key_path.exists()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate("Edgeloop fleet CA", key, None, (), now, _CA_DAYS)
        write_durably(key_path, _private_pem(key))
        write_durably(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    der = loaded.public_bytes(serialization.Encoding.DER)
    return Authority(certificate, key_path, certificate.read_text(), sha256(der).hexdigest())


def load_authority_key(authority: Authority) -> ec.EllipticCurvePrivateKey:
    """Return the authority's private key.

    Raises:
        OSError: it cannot be read.
        ValueError: the file holds no elliptic-curve key.
    """
    key = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{authority.key} holds no elliptic-curve key")  # noqa: TRY004 - as above
    return key


def load_listener_files(folder: Path, authority: Authority, names: tuple[str, ...], now: dt.datetime) -> ListenerFiles:
    """Return the listeners' certificate for `names` (DNS names and addresses), made where there is none that fits.

    Raises:
        OSError: the folder cannot be read or written.
    """
    files = ListenerFiles(folder / "tls.pem", folder / "tls-key.pem", authority.certificate)
    if files.certificate.exists() and files.key.exists() and _fits(files.certificate, names, now):
        return files
    ca_key = load_authority_key(authority)
    ca = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    made = _certificate(names[0], key, (ca, ca_key), names, now, _CERTIFICATE_DAYS)
    write_durably(files.key, _private_pem(key))
    write_durably(files.certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return files


def _fits(path: Path, names: tuple[str, ...], now: dt.datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    wanted = {_general_name(name) for name in names}
    return set(found) == wanted and certificate.not_valid_after_utc - now > dt.timedelta(days=_RENEW_DAYS)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    names: tuple[str, ...],
    now: dt.datetime,
    days: int,
) -> x509.Certificate:
    """Return a certificate by RFC 5280: an authority's own without an issuer, else a server's for `names`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(key_usage(authority=issuer is None), True)
    )
    signer = key if issuer is None else issuer[1]
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    if names:
        alternatives = [_general_name(name) for name in dict.fromkeys(names)]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return builder.sign(signer, hashes.SHA256())


def key_usage(*, authority: bool) -> x509.KeyUsage:
    """Return what a key may be used for: an authority's to sign certificates and lists, else to sign a handshake."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
