"""Renewal: a device gets its next certificate for a request that its own Ed25519 key has signed.

House rules: the signature is what counts, not the old certificate, which may have expired while the board lay in a
drawer. A request answers a challenge of ours and certifies a key that was never certified, so none works twice.
Revoked and quarantined devices get nothing; one that waits is told so.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256

import structlog
from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.enrolment import Challenge, Renewal, RenewRequest
from edge_agent.contract.envelope import PayloadType, open_envelope, pre_authentication_encoding
from fleet_server.core.devices import Standing
from fleet_server.services.audit import record_audit
from fleet_server.services.certificates import Certificates
from fleet_server.services.clock import Clock
from fleet_server.services.errors import DeniedError
from fleet_server.services.keys import verify_signature
from fleet_server.services.wire import Accounts
from fleet_server.store import certificates, devices
from fleet_server.store.database import Database

_log = structlog.get_logger(__name__)
_CHALLENGE_MS = 120_000
_MAX_VALID = 32


@dataclass(frozen=True, slots=True)
class ChallengeKey:
    """The secret under which challenges are made; replicas that hold the same authority share it."""

    secret: bytes

    @classmethod
    def of_authority(cls, key_pem: bytes) -> "ChallengeKey":
        """Return the secret that follows from the authority's private key."""
        return cls(hmac.digest(key_pem, b"edgeloop renewal challenge", "sha256"))

    def make(self, now: int) -> str:
        """Return a challenge of this time."""
        return f"{now:x}.{self._mac(f'{now:x}')}"

    def holds(self, nonce: str, now: int) -> bool:
        """Whether a challenge is ours and not older than two minutes."""
        made, _, mac = nonce.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(made).encode()):
            return False
        return 0 <= now - int(made, 16) <= _CHALLENGE_MS

    def _mac(self, made: str) -> str:
        return hmac.new(self.secret, made.encode(), sha256).hexdigest()


class Renewals:
    """Answers devices that ask for their next certificate."""

    def __init__(
        self, database: Database, accounts: Accounts, issuer: Certificates, key: ChallengeKey, clock: Clock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._issuer = issuer
        self._key = key
        self._clock = clock

    def challenge(self) -> Challenge:
        """Return what the next request must hold."""
        return Challenge(self._key.make(self._clock()))

    def renew(self, envelope: bytes) -> Renewal:
        """Return the next certificate of the device that signed this request, or that it has to wait.

        Raises:
            MalformedError: no signed request.
            DeniedError: unknown, not its signature, an old or foreign challenge, or a device that is locked out.
            InvalidError: the certificate request is not as it must be.
            ConflictError: its key was certified before.
        """
        sealed = open_envelope(envelope, PayloadType.RENEWAL)
        payload, signatures = sealed.content, [item.raw for item in sealed.signatures]
        request = codec.decode(RenewRequest, payload)
        signed = pre_authentication_encoding(PayloadType.RENEWAL, payload)
        now = self._clock()
        with self._database.write() as connection:
            device = devices.find_device(connection, request.device)
            key = b"" if device is None else bytes.fromhex(device.public_key)
            if device is None or not any(verify_signature(key, signature, signed) for signature in signatures):
                raise DeniedError("there is no such device, or this is not the signature of its key")
            if not self._key.holds(request.nonce, now):
                raise DeniedError("the challenge is too old or not of this server: ask for another one")
            return self._answer(connection, request, device, now)

    def _answer(self, connection: Connection, request: RenewRequest, device: devices.Device, now: int) -> Renewal:
        match Standing(device.standing):
            case Standing.PENDING:
                return Renewal(pending=True)
            case Standing.QUARANTINED if device.keyed_at > device.standing_at:
                return Renewal(pending=True)  # enrolled anew with other keys: it waits for its release
            case Standing.QUARANTINED | Standing.REVOKED:
                raise DeniedError(f"{device.id} is {device.standing}: it has to be enrolled anew, with new keys")
            case Standing.ACTIVE:
                pass
        if not self._accounts.certificates:
            return Renewal()  # it is let in, and has a password
        if certificates.count_valid(connection, device.id, now) >= _MAX_VALID:
            raise DeniedError(f"{device.id} holds {_MAX_VALID} valid certificates already")
        pem = self._issuer.issue(connection, request.csr, device.id)
        record_audit(connection, now, f"device:{device.id}", "certificate_renewed", device.id)
        _log.info("certificate_renewed", device=device.id)
        return Renewal(pem)
