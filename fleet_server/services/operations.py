"""Long-running operations: asked for here, worked on by `fleet_server.builds`, shown and cancelled here."""

import secrets
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_agent.contract.topics import check_name
from fleet_server.services.announcements import Announcer
from fleet_server.services.clock import Clock, iso
from fleet_server.services.errors import InvalidError
from fleet_server.store import operations
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError
from fleet_server.store.operations import UNFINISHED, Operation, OperationState
from fleet_server.store.pages import Page, PageRequest

SOURCE_KINDS = (".skops", ".onnx")
DATA_KINDS = (".csv", ".npz")
TASKS = ("classification", "regression", "clustering", "anomaly")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A model made elsewhere, with rows to prove it on; the files are in the operation's own folder."""

    model: str
    source: str
    data: str
    target: str
    task: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        try:
            check_name(self.model)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        if Path(self.source).suffix not in SOURCE_KINDS:
            raise InvalidError(f"a source ends in {' or '.join(SOURCE_KINDS)}, not {self.source!r}: a pickle runs code")
        if Path(self.data).suffix not in DATA_KINDS:
            raise InvalidError(f"data ends in {' or '.join(DATA_KINDS)}, not {self.data!r}")
        if self.task is not None and self.task not in TASKS:
            raise InvalidError(f"task is one of {', '.join(TASKS)}, not {self.task!r}")
        if not self.target or self.target.startswith("-") or len(self.target) > 200:
            raise InvalidError("target names the column to predict; it does not begin with '-'")


class Operations:
    """Queues operations and says how far they are; `changed` wakes whoever works on them."""

    def __init__(self, database: Database, folder: Path, announcer: Announcer, clock: Clock) -> None:
        self._database = database
        self._folder = folder
        self._announcer = announcer
        self._clock = clock
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
        """Delete an operation's files."""
        shutil.rmtree(self._folder / operation, ignore_errors=True)

    def queue_build(self, identity: str, request: BuildRequest) -> Operation:
        """Queue a build whose files are in place."""
        now = self._clock()
        plain = {
            "model": request.model,
            "source": request.source,
            "data": request.data,
            "target": request.target,
            "task": request.task,
            "description": request.description,
        }
        operation = Operation(identity, "build", request.model, OperationState.QUEUED, now, now, plain)
        with self._database.write() as connection:
            operations.insert_operation(connection, operation)
        self._wake(operation)
        return operation

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

    def cancel(self, operation: str) -> Operation:
        """Cancel an operation; what is at work ends soon after.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it has ended.
        """
        with self._database.write() as connection:
            found = operations.get_operation(connection, operation)
            if found.state not in UNFINISHED:
                raise ConflictError(f"the operation {operation} has ended: {found.state}")
            found = replace(found, state=OperationState.CANCELLED, updated=self._clock(), error="cancelled")
            operations.save_operation(connection, found)
        self._cancelled.add(operation)
        self._wake(found)
        return found

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
