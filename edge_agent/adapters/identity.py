"""Who this device is: its id, its secret key, the pinned server, the broker and what lets it in (identity.json, 0600).

House rules: the file is secret; it is refused where others may read it. It is written by enrolment, and by each renewal
of the certificate. Certificate and key are one file beside it, which it names: whoever replaces them writes a new file,
then this one.
"""

import hashlib
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.adapters import durable
from edge_agent.adapters.markers import Markers
from edge_agent.contract import codec
from edge_agent.contract.enrolment import Enrolment
from edge_agent.contract.topics import check_device_id, check_digest

FILE_NAME = "identity.json"
_MODE = 0o600


class IdentityError(Exception):
    """There is no usable identity; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity; `seed` is the secret of the device's Ed25519 key in hex.

    `fleet_ca` is the authority (PEM) of the server's TLS, `broker_ca` that of the broker's. `tls_file` names the file
    of certificate and key, empty where there is none (yet); `renew_at` and `expires` are its times in epoch seconds.
    """

    device: str
    seed: str = field(repr=False)
    server_url: str
    topic_root: str
    broker_host: str
    broker_port: int
    broker_password: str | None = field(repr=False, default=None)
    broker_ca: str | None = None
    fleet_ca: str | None = None
    tls_file: str = ""
    renew_at: int = 0
    expires: int = 0

    def __post_init__(self) -> None:
        check_device_id(self.device)
        check_digest(self.seed)
        if "/" in self.tls_file:
            raise ValueError("tls_file is the name of a file in the state folder")

    @property
    def by_certificate(self) -> bool:
        """Whether the broker knows this device by its certificate, which it has or awaits."""
        return self.broker_password is None


@dataclass(frozen=True, slots=True)
class TlsFile:
    """Key and certificate (PEM), when to renew it and when it expires (epoch seconds)."""

    pem: str = field(repr=False)
    renew_at: int
    expires: int


def identity_of(enrolment: Enrolment, seed: bytes, server_url: str, fleet_ca: str) -> Identity:
    """Return the identity that an enrolment gives to the holder of `seed`, without a certificate."""
    return Identity(
        device=enrolment.device,
        seed=seed.hex(),
        server_url=server_url,
        topic_root=enrolment.topic_root,
        broker_host=enrolment.broker_host,
        broker_port=enrolment.broker_port,
        broker_password=enrolment.broker_password,
        broker_ca=enrolment.broker_ca,
        fleet_ca=fleet_ca,
    )


def save_tls_file(state_dir: Path, identity: Identity, file: TlsFile) -> Identity:
    """Write certificate and key durably under a name of their own; return the identity that names them, unsaved.

    Raises:
        OSError: the folder is not writable.
    """
    name = f"tls-{hashlib.sha256(file.pem.encode()).hexdigest()[:16]}.pem"
    durable.write_file(state_dir / name, file.pem.encode(), mode=_MODE)
    return replace(identity, tls_file=name, renew_at=file.renew_at, expires=file.expires)


def drop_tls_files(state_dir: Path, keep: Identity) -> None:
    """Delete the files of certificates that the identity, which is saved, does not name."""
    for path in state_dir.glob("tls-*.pem"):
        if path.name != keep.tls_file:
            path.unlink(missing_ok=True)


def save_identity(state_dir: Path, identity: Identity) -> None:
    """Write the identity durably, readable by its owner alone.

    Raises:
        OSError: the folder is not writable.
    """
    durable.write_file(state_dir / FILE_NAME, codec.encode(identity), mode=_MODE)


def begin_anew(state_dir: Path, identity: Identity) -> None:
    """Forget what was kept for the server before, durably, and only then write the identity that the new one gave.

    Another server counts its documents from the beginning: what was kept would refuse them. Boots go on being counted.

    Raises:
        OSError: the folder is not writable.
    """
    for name in ("agent.db", "agent.db-journal", "spool.db", "spool.db-wal", "spool.db-shm"):
        (state_dir / name).unlink(missing_ok=True)
    Markers(state_dir / "good").forget()  # this flushes the removals too, since it flushes the folder above its own
    save_identity(state_dir, identity)


def load_identity(state_dir: Path) -> Identity:
    """Read the identity.

    Raises:
        IdentityError: there is none, it is malformed, or others than its owner may read it.
    """
    path = state_dir / FILE_NAME
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IdentityError(
            f"this device is not enrolled: {path} does not exist; "
            "run: edge-agent enroll --server URL --token TOKEN --id ID"
        ) from error
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}; run as the user that enrolled") from error
    if mode & 0o077:
        raise IdentityError(f"{path} holds secrets and has mode {mode:o}; run: chmod 600 {path}")
    try:
        return codec.decode(Identity, data)
    except codec.MalformedError as error:
        raise IdentityError(f"{path} is damaged: {error}; remove it and enrol again") from error
