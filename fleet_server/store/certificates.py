"""Certificates that the fleet's authority issued to devices. A row outlives its device: a revocation list needs it."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fleet_server.store.errors import ConflictError
from fleet_server.store.rows import reader
from fleet_server.store.schema import metadata

certificates = Table(
    "certificates",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("serial", String(40), nullable=False, unique=True),
    Column("device", String(64), nullable=False, index=True),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("issued", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """An issued certificate: its serial number in hexadecimal, whose it is, the SHA-256 of its public key (SPKI)."""

    serial: str
    device: str
    key_hash: str
    issued: int
    expires: int
    revoked: int | None = None


_read = reader(StoredCertificate, "n")


def insert_certificate(connection: Connection, made: StoredCertificate) -> None:
    """Keep an issued certificate.

    Raises:
        ConflictError: its key has been certified before.
    """
    values = {"serial": made.serial, "device": made.device, "key_hash": made.key_hash}
    try:
        with connection.begin_nested():
            connection.execute(insert(certificates).values(**values, issued=made.issued, expires=made.expires))
    except IntegrityError as error:
        raise ConflictError("this key has a certificate already: each request needs a new key") from error


def revoke_certificates(connection: Connection, device: str, now: int) -> int:
    """Revoke every certificate of a device; return how many are revoked anew."""
    query = update(certificates).where(certificates.c.device == device, certificates.c.revoked.is_(None))
    return connection.execute(query.values(revoked=now)).rowcount


def list_revoked(connection: Connection, now: int) -> tuple[StoredCertificate, ...]:
    """Return the revoked certificates that have not expired, by serial number."""
    query = select(certificates).where(certificates.c.revoked.is_not(None), certificates.c.expires > now)
    return tuple(_read(row) for row in connection.execute(query.order_by(certificates.c.serial)))


def newest_expiry(connection: Connection, device: str) -> int | None:
    """Return when the newest certificate of a device expires, revoked or not; None where it has none."""
    query = select(certificates.c.expires).where(certificates.c.device == device)
    return connection.execute(query.order_by(certificates.c.expires.desc()).limit(1)).scalar_one_or_none()


def forget_certificates(connection: Connection, before: int) -> int:
    """Delete certificates that expired before a time; return how many."""
    return connection.execute(delete(certificates).where(certificates.c.expires < before)).rowcount


def count_valid(connection: Connection, device: str, now: int) -> int:
    """Return how many certificates of a device are neither revoked nor expired."""
    valid = certificates.c.device == device, certificates.c.revoked.is_(None), certificates.c.expires > now
    return connection.execute(select(func.count()).select_from(certificates).where(*valid)).scalar_one()


def delete_certificates(connection: Connection, device: str) -> None:
    """Forget a device's certificates, which it never got."""
    connection.execute(delete(certificates).where(certificates.c.device == device))
