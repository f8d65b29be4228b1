"""The services, joined over one database and one wire, with the loop that turns rollouts.

House rules: it needs no broker and no socket of its own, so that tests run the whole server over a wire in memory.
"""

import contextlib
import threading
from dataclasses import dataclass
from importlib import metadata

import structlog

from fleet_server.api.application import build_application
from fleet_server.api.context import ApiContext
from fleet_server.builds.builder import Builder
from fleet_server.builds.releases import Releases
from fleet_server.builds.sandbox import Limits, choose_sandbox
from fleet_server.config import ServerConfig
from fleet_server.core.permissions import Role
from fleet_server.retraining import build_retraining
from fleet_server.services.announcements import Announcer
from fleet_server.services.api_keys import ApiKeys
from fleet_server.services.assignments import Assigner
from fleet_server.services.audit import FOLDER_NAME as AUDIT_FOLDER
from fleet_server.services.audit import Audit
from fleet_server.services.auth import Auth
from fleet_server.services.certificates import Certificates
from fleet_server.services.clock import Clock, now_ms
from fleet_server.services.controller import Controller
from fleet_server.services.decisions import Decisions
from fleet_server.services.devices import DeviceIntake, Devices
from fleet_server.services.drift import Drift
from fleet_server.services.enrolment import Enroller, EnrolmentRules
from fleet_server.services.events import Events
from fleet_server.services.explanations import Explanations
from fleet_server.services.feedback import Feedback, FeedbackRules
from fleet_server.services.fleet import Fleet, ServerFacts
from fleet_server.services.groups import Groups
from fleet_server.services.identities import Identities
from fleet_server.services.keys import Authority, SigningKey
from fleet_server.services.models import Models
from fleet_server.services.monitoring import Monitor
from fleet_server.services.operations import BuildRules, Operations
from fleet_server.services.outbox import Outbox
from fleet_server.services.profiles import load_denials, load_profiles
from fleet_server.services.recovery import Recovery
from fleet_server.services.release_views import ReleaseViews
from fleet_server.services.renewals import ChallengeKey, Renewals
from fleet_server.services.retention import Housekeeping, Retention
from fleet_server.services.rollouts import Rollouts
from fleet_server.services.telemetry import Telemetry
from fleet_server.services.throttles import Throttle
from fleet_server.services.tryout import RunTrainer, run_trainer
from fleet_server.services.users import Users
from fleet_server.services.wire import Accounts, Contact, Wire
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.errors import UnavailableError
from fleet_server.trust import build_trust

_log = structlog.get_logger(__name__)
_MIB = 2**20
_FORGET_EVERY_TICKS = 3600


@dataclass(frozen=True, slots=True)
class Outside:
    """What the services need from outside of themselves."""

    wire: Wire
    accounts: Accounts
    contact: Contact
    signing: SigningKey
    authority: Authority
    broker_kind: str
    broker_address: str
    notes: tuple[str, ...]
    url: str


class Composition:
    """The server without its sockets; `start` migrates the database and begins the loops, `close` ends them."""

    def __init__(
        self,
        config: ServerConfig,
        outside: Outside,
        clock: Clock = now_ms,
        trainer: RunTrainer = run_trainer,
    ) -> None:
        self._config = config
        self._outside = outside
        self._clock = clock
        self.stopping = threading.Event()
        self._wake = threading.Event()
        self._database = Database.at(config.data_dir / "server.db")
        artifacts = ArtifactFolder(config.data_dir / "artifacts")
        announcer = Announcer()
        assigner = Assigner(artifacts, load_profiles(), load_denials(), config.settings)
        rollouts = Rollouts(self._database, assigner, announcer, clock, self._wake.set, approvals=config.approvals)
        self.recovery = Recovery(self._database, assigner, announcer, clock)
        self.controller = Controller(self._database, assigner, rollouts, self.recovery, announcer, clock)
        self.trust = build_trust(config, self._database, artifacts, (assigner, announcer), clock, trainer)
        self.outbox = Outbox(self._database, artifacts, outside.wire, (self.trust.image, self.trust.director), clock)
        self._issuer = Certificates(self._database, outside.authority, config.certificate_days, clock)
        self.identities = self._identities(announcer, clock)
        rows_kept = FeedbackRules(config.feedback_kept, config.feedback_days)
        self.kept = Retention(config.health_kept, config.window_days, config.hour_days, rows_kept)
        self.intake = self._intake(artifacts, announcer, clock)
        self.housekeeping = Housekeeping(self._database, self.kept, clock)
        devices = Devices(self._database, clock, self._wake.set)
        models = Models(self._database, artifacts, announcer, clock, self.trust.tryout.sign)
        releases = Releases(config.data_dir / "runtimes", devices.reported_runtimes)
        self.sandbox = choose_sandbox(config.data_dir, required=config.sandbox_required, shown=(releases.folder,))
        rules = BuildRules(self.sandbox.refusal, config.accept_pickles, self.sandbox.bwrap is not None)
        operations = Operations(self._database, config.data_dir / "builds", announcer, clock, rules)
        shared = self._database, artifacts, announcer, clock
        self.retraining = build_retraining(shared, models, operations, rollouts, self.trust.tryout.sign_auto)
        self.monitor = Monitor(*shared, self.retraining.services.proposals.consider)
        limits = Limits(config.build_memory_mb, config.build_timeout_s, disk_mb=config.build_disk_mb)
        self._builder = Builder(operations, models, self.sandbox, limits, releases, self.retraining.runner)
        self.version = metadata.version("edgeloop")
        self.context = self._context((announcer, artifacts), devices, models, operations, rollouts)
        self.application = build_application(self.context, self.version)
        self._loop = threading.Thread(target=self._run, name="controller", daemon=True)

    def _context(
        self,
        shared: tuple[Announcer, ArtifactFolder],
        devices: Devices,
        models: Models,
        operations: Operations,
        rollouts: Rollouts,
    ) -> ApiContext:
        (announcer, artifacts), clock, throttle = shared, self._clock, Throttle()
        return ApiContext(
            auth=Auth(self._database, clock),
            announcer=announcer,
            api_keys=ApiKeys(self._database, clock),
            audit=Audit(self._database, self._config.data_dir / AUDIT_FOLDER, self._outside.signing, clock),
            decisions=Decisions(self._database),
            devices=devices,
            drift=Drift(self._database, artifacts, clock),
            enroller=self._enroller(announcer, clock),
            events=Events(self._database),
            explanations=Explanations(self._database, self.controller.observer, clock),
            feedback=Feedback(self._database, clock),
            fleet=self._fleet(devices, clock),
            groups=Groups(self._database, clock),
            identities=self.identities,
            image=self.trust.image,
            models=models,
            operations=operations,
            release_notice=lambda: self.trust.tryout.notice,
            release_views=ReleaseViews(self._database),
            renewals=self._renewals(clock),
            retraining=self.retraining.services,
            rollouts=rollouts,
            telemetry=Telemetry(self._database),
            throttle=throttle,
            users=Users(self._database, throttle, clock),
            ca_pem=self._outside.authority.pem,
            url=self._outside.url,
            work_folder=self._config.data_dir / "uploads",
            upload_bytes=self._config.upload_mb * _MIB,
        )

    def _identities(self, announcer: Announcer, clock: Clock) -> Identities:
        out = self._outside
        return Identities(self._database, out.accounts, self._issuer, out.wire, announcer, clock, self._wake.set)

    def _intake(self, artifacts: ArtifactFolder, announcer: Announcer, clock: Clock) -> DeviceIntake:
        return DeviceIntake(
            self._database,
            artifacts,
            self.controller,
            self.identities,
            self.trust.image,
            self._outside.wire,
            announcer,
            clock,
            self._wake.set,
            self.kept,
        )

    def _enroller(self, announcer: Announcer, clock: Clock) -> Enroller:
        out = self._outside
        rules = EnrolmentRules(out.authority.pin, out.contact, self._config.approve_devices, self.trust.image.roots)
        return Enroller(self._database, out.accounts, rules, self._issuer, announcer, clock)

    def _renewals(self, clock: Clock) -> Renewals:
        key = ChallengeKey.of_authority(self._outside.authority.key.read_bytes())
        return Renewals(self._database, self._outside.accounts, self._issuer, key, clock)

    def _fleet(self, devices: Devices, clock: Clock) -> Fleet:
        out = self._outside
        notes = out.notes if self.sandbox.bwrap is not None else (*out.notes, self.sandbox.notice)

        def facts() -> ServerFacts:
            told = tuple(text for text in (*notes, self.trust.tryout.notice) if text)
            return ServerFacts(self.version, out.broker_address, out.broker_kind, told)

        return Fleet(self._database, devices, self.recovery, out.wire.traffic, lambda: out.wire.connected, facts, clock)

    def start(self) -> None:
        """Migrate the database and begin the loops.

        Raises:
            UnavailableError: the database cannot be written.
            TrainerError: the release keys to try out with cannot be made.
        """
        self.prepare()
        if self.sandbox.bwrap is None:
            _log.warning("builds_without_sandbox", notice=self.sandbox.notice)
        self._builder.start()
        self._loop.start()

    def prepare(self) -> None:
        """Migrate the database, make what is tried out with, and where it was restored hold back what is sent.

        Raises:
            UnavailableError: the database cannot be written.
            TrainerError: the release keys to try out with cannot be made.
        """
        self._database.upgrade()
        self.context.audit.checkpoint()  # before the first row: it proves where the log begins
        self.trust.begin(self._database, self._clock())
        self.recovery.begin()

    def close(self) -> None:
        """End the loops and close the database."""
        self.stopping.set()
        self._wake.set()
        if self._loop.is_alive():
            self._loop.join(15)
        self._builder.stop()
        with contextlib.suppress(UnavailableError):  # then the next start writes it
            self.context.audit.checkpoint(at_once=True)
        self._database.close()

    def operator_key(self, held: str | None) -> tuple[str, bool]:
        """Return a key with all rights, the held one where it is one, and whether it was made now."""
        asker = self.context.auth.check_key(held) if held else None
        if held and asker is not None and asker.role is Role.ADMIN and not asker.scope.limited:
            return held, False
        return self.context.api_keys.make_operator_key(), True

    def sign_in_code(self, key: str) -> str:
        """Return a one-time code that signs a browser in with the rights of a valid key."""
        asker = self.context.auth.check_key(key)
        if asker is None:
            raise ValueError("the key is not valid here")
        return self.context.auth.make_code(asker)

    def turn(self, generation: int) -> int:
        """Do once what the loop does; return the generation of the connection that was served.

        Raises:
            UnavailableError: the database cannot be read or written now.
        """
        wire = self._outside.wire
        if wire.connected and wire.generation != generation:
            generation = wire.generation
            count = self.outbox.forget_broker()
            _log.info("desired_documents_queued", count=count)
        self.trust.tryout.turn()
        self.trust.image.refresh()
        self.identities.settle()
        self.retraining.services.proposals.turn()
        self.controller.tick()
        self.monitor.tick()
        self.housekeeping.roll_up()
        self.outbox.deliver()
        self.context.auth.save_uses()
        self.context.audit.checkpoint()
        return generation

    def _run(self) -> None:
        generation, paused, ticks = -1, False, 0
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                generation = self.turn(generation)
                if ticks % _FORGET_EVERY_TICKS == 0:
                    self.housekeeping.forget_old()
                    self.outbox.tidy()
                    self.outbox.renew()
                    self.identities.settle(all_of_them=True)
                if paused:
                    _log.info("controller_resumed")
                paused = False
            except UnavailableError as error:
                if not paused:
                    _log.error("controller_paused", error=str(error))
                paused = True
            except Exception:  # noqa: BLE001 - a defect in one turn must not leave the fleet without its controller
                _log.exception("controller_turn_failed")
            ticks += 1
            self._wake.wait(self._config.tick_s)
