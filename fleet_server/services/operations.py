"""Long-running operations: asked for here, worked on by `fleet_server.builds`, shown and cancelled here."""

import contextlib
import math
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from edge_agent.contract.topics import check_name
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock, iso
from fleet_server.services.errors import DeniedError, InvalidError, UnequippedError
from fleet_server.services.remains import remove_tree
from fleet_server.store import operations
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError, NotFoundError
from fleet_server.store.operations import UNFINISHED, Operation, OperationState
from fleet_server.store.pages import Page, PageRequest

SOURCE_KINDS = (".skops", ".onnx")
PICKLE_KINDS = (".joblib", ".pkl", ".pickle")
DATA_KINDS = (".csv", ".npz")
TASKS = ("classification", "regression", "clustering", "anomaly")
WANTS = ("size", "latency")
# How the error of an operation begins that was cut off by a stop of the server, with nothing wrong in it.
STOPPED = "the server stopped"


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A model made elsewhere, with rows to prove it on; the files are in the operation's own folder.

    `budget` is what a smaller variant may lose: points of accuracy, or percent of R²; `want` is what it is for.
    """

    model: str
    source: str
    data: str
    target: str
    task: str | None = None
    description: str = ""
    budget: float | None = None
    want: str | None = None
    allow_pickle: bool = False
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            check_name(self.model)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        self._check_source()
        if Path(self.data).suffix not in DATA_KINDS:
            raise InvalidError(f"data ends in {' or '.join(DATA_KINDS)}, not {self.data!r}")
        if self.task is not None and self.task not in TASKS:
            raise InvalidError(f"task is one of {', '.join(TASKS)}, not {self.task!r}")
        if self.want is not None and self.want not in WANTS:
            raise InvalidError(f"want is one of {', '.join(WANTS)}, not {self.want!r}")
        if self.budget is not None and not (math.isfinite(self.budget) and 0 <= self.budget <= 100):
            raise InvalidError(f"budget is 0 to 100, points of accuracy or percent of R², not {self.budget}")
        if not self.target or self.target.startswith("-") or len(self.target) > 200:
            raise InvalidError("target names the column to predict; it does not begin with '-'")
        if any(not name or name.startswith("-") or len(name) > 200 for name in self.drop):
            raise InvalidError("drop names columns that are no features; none begins with '-'")

    def _check_source(self) -> None:
        kind = Path(self.source).suffix
        if kind in PICKLE_KINDS and not self.allow_pickle:
            raise InvalidError(
                f"{kind} is a pickle, and a pickle runs code: save the model with skops, or ask with allow_pickle, "
                "which the server must accept too"
            )
        if kind not in SOURCE_KINDS + PICKLE_KINDS:
            raise InvalidError(f"a source ends in {' or '.join(SOURCE_KINDS)}, not {self.source!r}")


@dataclass(frozen=True, slots=True)
class RetrainRequest:
    """A training for a proposal; its files are laid out when it is its turn. `training_s` is what it may take."""

    proposal: str
    training_s: float


@dataclass(frozen=True, slots=True)
class BuildRules:
    """What this server builds: nothing where `refusal` says why; pickles where its operator chose so, and boxed."""

    refusal: str | None = None
    pickles: bool = False
    boxed: bool = True

    def admit(self, request: BuildRequest | RetrainRequest) -> None:
        """Let a build or a training pass.

        Raises:
            UnequippedError: this machine lacks what such a build needs.
            DeniedError: this server takes no pickles.
        """
        if self.refusal is not None:
            raise UnequippedError(self.refusal)
        if isinstance(request, RetrainRequest) or Path(request.source).suffix not in PICKLE_KINDS:
            return
        if not self.pickles:
            raise DeniedError(
                "this server takes no pickles, since loading one runs whatever code is in it: save the model with "
                "skops; or start the server with --accept-pickles"
            )
        if not self.boxed:
            raise UnequippedError("a pickle is loaded in bubblewrap alone: apt-get install bubblewrap")


class Operations:
    """Queues operations and says how far they are; `changed` wakes whoever works on them."""

    def __init__(
        self, database: Database, folder: Path, announcer: Announcer, clock: Clock, rules: BuildRules | None = None
    ) -> None:
        self._database = database
        self._folder = folder
        self._announcer = announcer
        self._clock = clock
        self._rules = rules or BuildRules()
        self._cancelled: set[str] = set()
        self.changed = threading.Condition()

    def new_id(self) -> str:
        """Return the id of an operation to come, under which its files are laid out."""
        return "op-" + secrets.token_hex(8)

    def folder_of(self, operation: str) -> Path:
        """Return the private folder of an operation's files, made on the first call."""
        folder = self._folder / operation
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def clean(self, operation: str) -> None:
        """Delete an operation's files, however a build left them."""
        remove_tree(self._folder / operation)

    def sweep(self) -> None:
        """Delete the files of operations that have ended or were never queued: a former server died over them."""
        owed = {operation.id for operation in self.unfinished()}
        if self._folder.is_dir():
            for place in list(self._folder.iterdir()):
                if place.name not in owed:
                    self.clean(place.name)

    def admit(self, request: BuildRequest | RetrainRequest) -> None:
        """Let a build or a training pass that this server does.

        Raises:
            UnequippedError: this machine lacks what such a build needs.
            DeniedError: this server takes no such source.
        """
        self._rules.admit(request)

    def queue_build(self, identity: str, request: BuildRequest, actor: str) -> Operation:
        """Queue a build whose files are in place."""
        now = self._clock()
        operation = Operation(identity, "build", request.model, OperationState.QUEUED, now, now, asdict(request))
        with self._database.write() as connection:
            operations.insert_operation(connection, operation)
            record_audit(connection, now, actor, "build_queued", identity, {"model": request.model})
        self._wake(operation)
        return operation

    def queue_retraining(self, connection: Connection, model: str, request: RetrainRequest, actor: str) -> str:
        """Queue a training in the caller's transaction, and return the operation's id."""
        now = self._clock()
        made = Operation(self.new_id(), "retrain", model, OperationState.QUEUED, now, now, asdict(request))
        operations.insert_operation(connection, made)
        record_audit(connection, now, actor, "retraining_queued", made.id, {"model": model, **made.request})
        return made.id

    def show(self, operation: str) -> Operation:
        """Return an operation.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.read() as connection:
            return operations.get_operation(connection, operation)

    def list_operations(self, request: PageRequest) -> Page[Operation]:
        """Return one page of operations, newest first."""
        with self._database.read() as connection:
            return operations.page_operations(connection, request)

    def unfinished(self) -> tuple[Operation, ...]:
        """Return operations that have not ended, the oldest first."""
        with self._database.read() as connection:
            return operations.unfinished_operations(connection)

    def cancel(self, operation: str, actor: str) -> Operation:
        """Cancel an operation; what is at work ends soon after.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it has ended.
        """
        with self._database.write() as connection:
            found = operations.get_operation(connection, operation)
            if found.state not in UNFINISHED:
                raise ConflictError(f"the operation {operation} has ended: {found.state}")
            waited = found.state == OperationState.QUEUED
            found = replace(found, state=OperationState.CANCELLED, updated=self._clock(), error="cancelled")
            operations.save_operation(connection, found)
            record_audit(connection, found.updated, actor, "operation_cancelled", operation)
        self._cancelled.add(operation)
        if waited:  # nobody else will
            self.clean(operation)
        self._wake(found)
        return found

    def cancel_quietly(self, operation: str | None, actor: str) -> None:
        """Cancel an operation, if there is one that has not ended."""
        with contextlib.suppress(NotFoundError, ConflictError):
            self.cancel(operation or "", actor)

    def is_cancelled(self, operation: str) -> bool:
        """Whether an operation was cancelled since the server began."""
        return operation in self._cancelled

    def begin(self, operation: str) -> None:
        """Save that an operation is at work."""
        self._change(operation, {"state": OperationState.RUNNING})

    def note(self, operation: str, line: str) -> None:
        """Add a line to an operation's progress."""
        with self._database.write() as connection:
            found = operations.get_operation(connection, operation)
            if found.state in UNFINISHED:
                changed = replace(found, progress=(*found.progress, line[:500]), updated=self._clock())
                operations.save_operation(connection, changed)
        self._announcer.announce("operation", plain_operation(found))

    def succeed(self, operation: str, result: Mapping[str, Any]) -> None:
        """Save that an operation has reached its end."""
        self._change(operation, {"state": OperationState.SUCCEEDED, "result": dict(result)})

    def fail(self, operation: str, error: str) -> None:
        """Save why an operation failed."""
        self._change(operation, {"state": OperationState.FAILED, "error": error})

    def _change(self, operation: str, changes: dict[str, Any]) -> None:
        with self._database.write() as connection:
            found = operations.get_operation(connection, operation)
            if found.state in UNFINISHED:  # a cancelled one stays cancelled
                found = replace(found, updated=self._clock(), **changes)
                operations.save_operation(connection, found)
                detail = {"error": found.error} if found.error else dict(found.result or {})
                record_audit(connection, found.updated, "builder", f"operation_{found.state}", operation, detail)
        self._wake(found)

    def _wake(self, operation: Operation) -> None:
        self._announcer.announce("operation", plain_operation(operation))
        with self.changed:
            self.changed.notify_all()


def plain_operation(operation: Operation) -> dict[str, Any]:
    """Return an operation as the API shows it."""
    return {
        "id": operation.id,
        "kind": operation.kind,
        "subject": operation.subject,
        "state": operation.state,
        "progress": list(operation.progress),
        "result": None if operation.result is None else dict(operation.result),
        "error": operation.error,
        "created": iso(operation.created),
        "updated": iso(operation.updated),
    }
