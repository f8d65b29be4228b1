"""Enrolment: a token lets a board in once; it gets credentials of its own, and we keep its public key.

House rules: a token's secret is stored by hash; its use, the new device and its certificate are one transaction; an
unknown, used or expired token gets the same answer. A device that enrols again under a fresh token must hold the same
key, or another one where its keys were revoked. Where devices are approved, a board gets nothing until it is.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import structlog
from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.enrolment import Enrolment, EnrolRequest
from edge_agent.contract.topics import check_name
from fleet_server.core.cohorts import choose_cohort
from fleet_server.core.devices import Act, Standing, decide_standing, needs_new_keys
from fleet_server.core.selectors import SelectorError, check_label
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.auth import hash_secret
from fleet_server.services.certificates import Certificates, check_csr
from fleet_server.services.clock import Clock
from fleet_server.services.errors import BrokerError, DeniedError, InvalidError
from fleet_server.services.events import record_event
from fleet_server.services.wire import Accounts, Contact
from fleet_server.store import certificates, devices, tokens
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError
from fleet_server.store.events import StoredEvent
from fleet_server.store.pages import Page, PageRequest

_log = structlog.get_logger(__name__)
_MAX_USES = 10_000
_MAX_TTL_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a new token is to allow; `ttl_s` in seconds."""

    label: str = ""
    uses: int = 1
    ttl_s: int = 3600
    profile: str | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentRules:
    """How devices are let in: what tokens end with, what devices are told, whether an operator approves each.

    `roots` gives the roots of both repositories, which a device pins.
    """

    pin: str
    contact: Contact
    approve: bool
    roots: Callable[[], tuple[str, str]]


class Enroller:
    """Makes tokens and lets devices in."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        rules: EnrolmentRules,
        issuer: Certificates,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._rules = rules
        self._issuer = issuer
        self._announcer = announcer
        self._clock = clock

    def make_token(self, request: TokenRequest, actor: str) -> tuple[tokens.Token, str]:
        """Make a token; return it, and its text, which is not stored.

        Raises:
            InvalidError: a number is out of range, or a name or label malformed.
        """
        if not (1 <= request.uses <= _MAX_USES and 1 <= request.ttl_s <= _MAX_TTL_S and len(request.label) <= 200):
            raise InvalidError(f"uses is 1 to {_MAX_USES}, ttl_s 1 to {_MAX_TTL_S}, label at most 200 characters")
        try:
            if request.profile is not None:
                check_name(request.profile)
            for key, value in (request.labels or {}).items():
                check_label(key, value)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        secret, now = secrets.token_hex(16), self._clock()
        token = tokens.Token(
            id="tok-" + secrets.token_hex(6),
            secret_hash=hash_secret(secret),
            label=request.label,
            uses=request.uses,
            created=now,
            expires=now + request.ttl_s * 1000,
            profile=request.profile,
            labels=dict(request.labels or {}),
        )
        with self._database.write() as connection:
            tokens.insert_token(connection, token)
            detail = {"uses": token.uses, "expires": token.expires, "label": token.label, "labels": dict(token.labels)}
            record_audit(connection, now, actor, "token_made", token.id, detail)
        return token, f"{secret}.{self._rules.pin}"

    def list_tokens(self, request: PageRequest) -> Page[tokens.Token]:
        """Return one page of the tokens."""
        with self._database.read() as connection:
            return tokens.page_tokens(connection, request)

    def revoke_token(self, token: str, actor: str) -> None:
        """Revoke a token; devices that it let in stay.

        Raises:
            fleet_server.store.errors.NotFoundError: there is none of this id.
        """
        with self._database.write() as connection:
            tokens.delete_token(connection, token)
            record_audit(connection, self._clock(), actor, "token_revoked", token)

    def enrol(self, request: EnrolRequest) -> Enrolment:
        """Let a device in, or have it wait for an operator's approval.

        Raises:
            DeniedError: the token does not hold.
            InvalidError: its certificate request is missing or not as it must be.
            ConflictError: another device has this id, the keys are revoked ones, or there is no root of trust yet.
            BrokerError: its account could not be made; the token keeps its use.
        """
        now = self._clock()
        image_root, director_root = self._rules.roots()
        with self._database.write() as connection:
            token = tokens.find_token(connection, hash_secret(request.token.partition(".")[0]))
            if token is None or not tokens.use_token(connection, token.id, now):
                raise DeniedError(
                    "this enrolment token is unknown, used up or expired; make a new one: `edgeloop device token`"
                )
            device = self._admit(connection, request, token, now)
            certificate = self._certify(connection, request, device)
            key = sha256(bytes.fromhex(device.public_key)).hexdigest()
            facts = {"token": token.id, "profile": device.profile, "key_sha256": key, "standing": device.standing}
            record_audit(connection, now, f"device:{device.id}", "device_enrolled", device.id, facts)
        password = None if self._accounts.certificates else secrets.token_urlsafe(32)
        if device.active:
            self._open_account(device, password, token, new=device.enrolled == now)
        self._announce(device.id, now)
        _log.info("device_enrolled", device=device.id, profile=device.profile, token=token.id, standing=device.standing)
        contact = self._rules.contact
        return Enrolment(
            device=device.id,
            image_root=image_root,
            director_root=director_root,
            topic_root=contact.topic_root,
            broker_host=contact.host,
            broker_port=contact.port,
            broker_password=password,
            broker_ca=contact.ca_pem,
            certificate=certificate,
            pending=not device.active,
        )

    def _certify(self, connection: Connection, request: EnrolRequest, device: devices.Device) -> str | None:
        """Return the device's certificate; none where the broker takes passwords, or the device is not yet let in."""
        if not self._accounts.certificates:
            return None
        if request.csr is None:
            raise InvalidError("this fleet's broker takes certificates: the enrolment lacks a certificate request")
        check_csr(request.csr, device.id)
        return self._issuer.issue(connection, request.csr, device.id) if device.active else None

    def _open_account(self, device: devices.Device, password: str | None, token: tokens.Token, *, new: bool) -> None:
        try:
            self._accounts.add(device.id, password, device.cohort)
        except OSError as error:
            self._take_back(device.id, token.id, new=new)
            raise BrokerError(f"the broker has no account for {device.id!r} yet: {error}; try again") from error

    def _admit(self, connection: Connection, request: EnrolRequest, token: tokens.Token, now: int) -> devices.Device:
        profile = request.capabilities.profile
        if token.profile not in (None, profile):
            raise InvalidError(
                f"this token is for boards of the profile {token.profile!r}, and this board says {profile!r}: "
                "set `profile` in its agent.toml, or use another token"
            )
        known = devices.find_device(connection, request.device)
        if known is not None:
            return self._admit_again(connection, request, known, now)
        try:
            for key, value in token.labels.items():
                check_label(key, value)
        except SelectorError as error:
            raise InvalidError(str(error)) from error
        device = devices.Device(
            id=request.device,
            public_key=request.public_key,
            profile=profile,
            cohort=choose_cohort(profile),
            simulated=request.capabilities.simulated,
            labels=token.labels,
            capabilities=codec.to_plain(request.capabilities),
            enrolled=now,
            standing=(Standing.PENDING if self._rules.approve else Standing.ACTIVE).value,
            standing_at=now,
            keyed_at=now,
        )
        devices.insert_device(connection, device)
        return device

    def _admit_again(
        self, connection: Connection, request: EnrolRequest, known: devices.Device, now: int
    ) -> devices.Device:
        standing, same = Standing(known.standing), known.public_key == request.public_key
        if needs_new_keys(standing):
            if same:
                raise ConflictError(
                    f"the keys of {known.id!r} were revoked; make new ones on it: `edge-agent enroll --force`"
                )
            devices.save_key(connection, known.id, request.public_key, now)
        elif not same:
            raise ConflictError(
                f"there is a device {request.device!r} with another key already; choose another id, "
                f"or remove it: `edgeloop device remove {request.device}`"
            )
        after = decide_standing(standing, Act.ENROL, approved=not self._rules.approve)
        if after is not None and after is not standing:
            devices.save_standing(connection, known.id, after, "enrolled again", now)
        return devices.get_device(connection, known.id)

    def _take_back(self, device: str, token: str, *, new: bool) -> None:
        with self._database.write() as connection:
            tokens.return_use(connection, token)
            if new:
                devices.delete_device(connection, device)
                certificates.delete_certificates(connection, device)
            record_audit(connection, self._clock(), "server", "enrolment_taken_back", device, {"token": token})

    def _announce(self, device: str, now: int) -> None:
        with self._database.write() as connection:
            event = StoredEvent(now, "server", "device_enrolled", device=device)
            record_event(connection, event, self._announcer)
