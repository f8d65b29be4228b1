"""The fleet's authority as the server makes it, with certificates of devices for tests, good ones and bad ones."""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleet_server.broker.brokers import TlsFiles
from fleet_server.services.certificates import CRL_NAME, issue, load_crl, make_crl
from fleet_server.services.keys import Authority, load_authority, load_listener_files
from fleet_server.store.artifacts import write_durably

PEM = serialization.Encoding.PEM


def now_ms() -> int:
    return int(dt.datetime.now(dt.UTC).timestamp() * 1000)


def make_csr(device: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Return a request with the subject CN=`device`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def csr_pem(device: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Return a request (PEM) with the subject CN=`device`, for a new key where none is given."""
    return make_csr(device, key or ec.generate_private_key(ec.SECP256R1())).public_bytes(PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain).decode()


class Certifier:
    """An authority in a folder, its listener's files, and files of certificate and key for anybody."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        now = dt.datetime.now(dt.UTC)
        self.authority: Authority = load_authority(folder, now)
        names = ("127.0.0.1", "localhost")
        self.listener = load_listener_files(folder, self.authority, names, now)
        self.crl = load_crl(folder, self.authority, now)
        self.serials: dict[str, int] = {}

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(self.listener.certificate, self.listener.key, self.listener.ca, self.crl)

    def certify(self, device: str, *, at_ms: int | None = None, days: int = 60) -> Path:
        """Return a file with a new certificate and key for a name, as the server issues them at a time."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = issue(self.authority, make_csr(device, key), device, at_ms or now_ms(), days)
        self.serials[device] = int(made.stored.serial, 16)
        path = self.folder / f"{device}-{made.stored.serial[:8]}.pem"
        path.write_text(made.pem + key_pem(key))
        return path

    def revoke(self, *devices: str) -> None:
        """Write the list of revoked certificates with the newest ones of these devices in it."""
        now = dt.datetime.now(dt.UTC)
        revoked = [(self.serials[device], now) for device in devices]
        write_durably(self.crl, make_crl(self.authority, revoked, now, self.crl.read_bytes()), 0o644)
        assert self.crl.name == CRL_NAME
