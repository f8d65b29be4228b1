"""Devices' certificates: what a request must be, what is issued for it, and the list of those revoked.

House rules: nothing of a request is taken over but its public key; the name, the use and the time are ours. A request
is refused for anything that does not belong in one. The list of revoked certificates is written durably, is always
newer than the one before, and is made anew long before it ends: brokers let nobody in under a list that has ended.
Sources: RFC 2986 (requests), RFC 5280 (certificates and revocation lists), FIPS 186-5 (P-256).
"""

import datetime as dt
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Connection

from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.services.keys import Authority, key_usage, load_authority_key
from fleet_server.store import certificates
from fleet_server.store.artifacts import write_durably
from fleet_server.store.certificates import StoredCertificate
from fleet_server.store.database import Database

MIN_DAYS, MAX_DAYS = 30, 90
CRL_NAME = "crl.pem"
_MAX_CSR_BYTES = 4096
_CRL_DAYS = 30
_DAY_MS = 24 * 3600 * 1000
# A board's clock may be behind ours.
_BACKDATED = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate (PEM), and what is kept of it."""

    pem: str
    stored: StoredCertificate


def check_csr(text: str, device: str) -> x509.CertificateSigningRequest:
    """Return a device's request for a certificate.

    Raises:
        InvalidError: not a PKCS #10 request in PEM, not signed by its own key, the key is not on P-256, the subject
            is not exactly CN=`device`, or it asks for extensions or has attributes.
    """
    if len(text.encode()) > _MAX_CSR_BYTES:
        raise InvalidError(f"a certificate request has {_MAX_CSR_BYTES} bytes at most")
    try:
        csr = x509.load_pem_x509_csr(text.encode())
        key, signed = csr.public_key(), csr.is_signature_valid
        subject, asked = list(csr.subject), len(csr.attributes)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise InvalidError(f"this is no certificate request (PKCS #10, PEM): {error}") from error
    if not signed:
        raise InvalidError("the certificate request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidError("a device's TLS key is an elliptic-curve key on P-256, and nothing else")
    if len(subject) != 1 or subject[0].oid != NameOID.COMMON_NAME or subject[0].value != device:
        raise InvalidError(f"the subject of the certificate request is not exactly CN={device}")
    if asked:
        raise InvalidError("a certificate request asks for no extensions and has no attributes: the server decides")
    return csr


def issue(authority: Authority, csr: x509.CertificateSigningRequest, device: str, now_ms: int, days: int) -> Issued:
    """Issue a client certificate for the key of a checked request, for `days` from now on.

    Raises:
        OSError: the authority's key cannot be read.
    """
    now, key = _time(now_ms), csr.public_key()
    ca = x509.load_pem_x509_certificate(authority.pem.encode())
    signer = load_authority_key(authority)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("the request was not checked")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)]))
        .issuer_name(ca.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(key_usage(authority=False), True)
        # Never a server: a device's certificate convinces no other device, and a server's lets nobody in as a client.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
        .sign(signer, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    expires = now_ms + days * _DAY_MS
    stored = StoredCertificate(f"{certificate.serial_number:x}", device, _key_hash(key), now_ms, expires)
    return Issued(pem, stored)


def make_crl(
    authority: Authority, revoked: Iterable[tuple[int, dt.datetime]], now: dt.datetime, previous: bytes | None
) -> bytes:
    """Return the list (PEM) of revoked certificates, as (serial number, when); newer than the `previous` one.

    Raises:
        OSError: the authority's key cannot be read.
    """
    signer = load_authority_key(authority)
    ca = x509.load_pem_x509_certificate(authority.pem.encode())
    last = None if previous is None else _read_crl(previous)
    # Of two lists of one second OpenSSL keeps the older; so each begins a second after the one before, in the past.
    begins = now - _BACKDATED
    number = 1
    if last is not None:
        begins = max(begins, last.last_update_utc + dt.timedelta(seconds=1))
        number = last.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(begins)
        .next_update(now + dt.timedelta(days=_CRL_DAYS))
        .add_extension(x509.CRLNumber(number), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    for serial, when in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def load_crl(folder: Path, authority: Authority, now: dt.datetime) -> Path:
    """Return the file of revoked certificates in `folder`, made on the first call, and anew after half of its time.

    Raises:
        OSError: the folder cannot be read or written.
    """
    path = folder / CRL_NAME
    previous = path.read_bytes() if path.exists() else None
    last = None if previous is None else _read_crl(previous)
    if last is None or not _lasts(last, now):
        known = [] if last is None else [(item.serial_number, item.revocation_date_utc) for item in last]
        write_durably(path, make_crl(authority, known, now, previous), 0o644)
    return path


class Certificates:
    """Issues and revokes the certificates of devices, and keeps the file of those revoked beside the authority's."""

    def __init__(self, database: Database, authority: Authority, days: int, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._path = authority.certificate.with_name(CRL_NAME)
        self._days = days
        self._clock = clock
        self._lock = threading.Lock()

    def issue(self, connection: Connection, csr: str, device: str) -> str:
        """Return a new certificate (PEM) for a device's request, within the caller's transaction.

        Raises:
            InvalidError: the request is not as it must be.
            ConflictError: its key was certified before.
        """
        made = issue(self._authority, check_csr(csr, device), device, self._clock(), self._days)
        certificates.insert_certificate(connection, made.stored)
        return made.pem

    def revoke(self, connection: Connection, device: str, now: int) -> None:
        """Revoke all certificates of a device; `publish` writes them into the file."""
        certificates.revoke_certificates(connection, device, now)

    def publish(self) -> bool:
        """Write the file of revoked certificates where it lacks one or nears its end; return whether it was written.

        Raises:
            OSError: it could not be written; the file is as before.
            UnavailableError: the database cannot be read now.
        """
        with self._lock:
            now = self._clock()
            with self._database.read() as connection:
                rows = certificates.list_revoked(connection, now)
            wanted = [(int(row.serial, 16), _time(row.revoked or now)) for row in rows]
            previous = self._path.read_bytes() if self._path.exists() else None
            last = None if previous is None else _read_crl(previous)
            known = {serial for serial, _ in wanted}
            held = {} if last is None else {item.serial_number: item.revocation_date_utc for item in last}
            if last is not None and held.keys() >= known and _lasts(last, _time(now)):
                return False
            # A database restored from a backup may not know of the newest: they stay while they could be valid.
            ended = _time(now) - dt.timedelta(days=MAX_DAYS)
            wanted += [(serial, when) for serial, when in held.items() if serial not in known and when > ended]
            write_durably(self._path, make_crl(self._authority, wanted, _time(now), previous), 0o644)
            return True

    def forget_expired(self) -> None:
        """Delete what is kept of certificates that ended a day ago."""
        with self._database.write() as connection:
            certificates.forget_certificates(connection, self._clock() - _DAY_MS)


def _read_crl(data: bytes) -> x509.CertificateRevocationList | None:
    try:
        return x509.load_pem_x509_crl(data)
    except ValueError:
        return None  # cut or garbled: it is made anew


def _lasts(crl: x509.CertificateRevocationList, now: dt.datetime) -> bool:
    ends = crl.next_update_utc
    return ends is not None and ends - now > dt.timedelta(days=_CRL_DAYS / 2)


def _key_hash(key: ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def _time(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC)
