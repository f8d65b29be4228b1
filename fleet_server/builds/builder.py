"""Works on builds, one at a time: the trainer compiles and proves in a box, the result is registered like an upload.

House rules: whatever a foreign model does, it does to a child process with limits and a deadline; a failure carries the
trainer's own words; a build that was at work when the server stopped has failed, one that waited goes on waiting.
"""

import contextlib
import sys
import threading
from pathlib import Path

import structlog

from edge_agent.contract.card import VERSION_NAME
from fleet_server.builds.child import BuildError, check_plain, run_child
from fleet_server.builds.releases import Releases
from fleet_server.builds.sandbox import Limits, Sandbox
from fleet_server.services.errors import ServiceError
from fleet_server.services.models import Models
from fleet_server.services.operations import BuildRequest, Operations
from fleet_server.store.errors import StoreError
from fleet_server.store.operations import Operation, OperationState

_log = structlog.get_logger(__name__)
_MAX_ERROR = 2000


class Builder:
    """Takes queued builds and works on them in a thread of its own."""

    def __init__(
        self, operations: Operations, models: Models, sandbox: Sandbox, limits: Limits, releases: Releases
    ) -> None:
        self._operations = operations
        self._models = models
        self._sandbox = sandbox
        self._limits = limits
        self._releases = releases
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="builder", daemon=True)

    def start(self) -> None:
        """Begin to work; builds that a former server left half-way have failed."""
        for operation in self._operations.unfinished():
            if operation.state == OperationState.RUNNING:
                self._operations.fail(operation.id, "the server stopped during this build; ask for it again")
        self._operations.sweep()
        self._thread.start()

    def stop(self) -> None:
        """End; a build at work is killed."""
        self._stopping.set()
        with self._operations.changed:
            self._operations.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                waiting = [item for item in self._operations.unfinished() if item.state == OperationState.QUEUED]
            except StoreError as error:
                _log.error("builds_paused", error=str(error))
                waiting = []
            if not waiting:
                with self._operations.changed:
                    self._operations.changed.wait(timeout=1.0)
                continue
            self._work(waiting[0])

    def _work(self, operation: Operation) -> None:
        try:
            self._build(operation)
        except (BuildError, ServiceError, StoreError, OSError) as error:
            _log.warning("build_failed", operation=operation.id, error=str(error))
            self._fail(operation, str(error))
        except Exception as error:  # noqa: BLE001 - a defect in one build must not end the thread of all others
            _log.exception("build_crashed", operation=operation.id)
            self._fail(operation, f"the server could not follow this build: {error!r}")
        finally:
            self._operations.clean(operation.id)

    def _build(self, operation: Operation) -> None:
        self._operations.begin(operation.id)
        request = BuildRequest(**operation.request)
        self._operations.admit(request)  # the server may have started anew since it was asked for
        self._operations.note(operation.id, self._sandbox.notice)
        self._compile(operation, request)
        out = _find_version(self._operations.folder_of(operation.id) / "out")
        version = self._models.register(
            operation.subject, out, f"operation:{operation.id}", lambda line: self._operations.note(operation.id, line)
        )
        self._operations.succeed(operation.id, {"model": version.model, "version": version.version})

    def _fail(self, operation: Operation, error: str) -> None:
        with contextlib.suppress(StoreError):  # the database is away: the next start fails it
            self._operations.fail(operation.id, error[:_MAX_ERROR])

    def _compile(self, operation: Operation, request: BuildRequest) -> None:
        folder = self._operations.folder_of(operation.id)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)

        def ended_by() -> str | None:
            if self._operations.is_cancelled(operation.id):
                return "cancelled"
            return "the server stopped" if self._stopping.is_set() else None

        def tell(line: str) -> None:
            self._operations.note(operation.id, line)

        for note in self._releases.notes():
            tell(note)
        trainer = [*compile_command(request, folder), *self._releases.options()]
        command = self._sandbox.wrap(trainer, folder, self._limits)
        run_child(command, folder, self._limits, tell, ended_by, self._releases.environment())
        check_plain(folder)


def compile_command(request: BuildRequest, folder: Path) -> list[str]:
    """Return the trainer's command for a build whose files lie in `folder`."""
    command = [sys.executable, "-m", "trainer", "compile", str(folder / request.source)]
    command += ["--data", str(folder / request.data), "--target", request.target, "--name", request.model]
    for name in request.drop:
        command += ["--drop", name]
    if request.task is not None:
        command += ["--task", request.task]
    if request.budget is not None:
        command += ["--budget", format(request.budget, "g")]
    if request.want is not None:
        command += ["--want", request.want]
    if request.description:
        command += [f"--description={request.description}"]
    if request.allow_pickle:
        command += ["--allow-pickle"]
    return [*command, "--out", str(folder / "out"), "--json"]


def _find_version(out: Path) -> Path:
    places = [out, *sorted(item for item in out.iterdir() if item.is_dir())] if out.is_dir() else []
    for place in places:
        if (place / VERSION_NAME).is_file():
            return place
    raise BuildError(f"the trainer ended well but left no {VERSION_NAME}")
