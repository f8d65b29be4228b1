"""Works on builds and trainings, one at a time: the trainer runs in a box, what it made is registered like an upload.

House rules: whatever a foreign model does, it does to a child process with limits and a deadline; a failure carries the
trainer's own words; a build that was at work when the server stopped has failed, one that waited goes on waiting.
"""

import contextlib
import sys
import threading
from dataclasses import replace
from pathlib import Path

import structlog

from edge_agent.contract.card import VERSION_NAME
from fleet_server.builds.child import BuildError, check_plain, run_child
from fleet_server.builds.releases import Releases
from fleet_server.builds.retrainer import Retrainer
from fleet_server.builds.sandbox import Limits, Sandbox
from fleet_server.services.errors import ServiceError
from fleet_server.services.models import Models
from fleet_server.services.operations import STOPPED, BuildRequest, Operations, RetrainRequest
from fleet_server.store.errors import StoreError
from fleet_server.store.operations import Operation, OperationState

_log = structlog.get_logger(__name__)
_MAX_ERROR = 2000


class Builder:
    """Takes queued builds and works on them in a thread of its own."""

    def __init__(
        self,
        operations: Operations,
        models: Models,
        sandbox: Sandbox,
        limits: Limits,
        releases: Releases,
        retrainer: Retrainer,
    ) -> None:
        self._retrainer = retrainer
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
                self._operations.fail(operation.id, f"{STOPPED} during this build; ask for it again")
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
        if operation.kind == "retrain":
            self._retrain(operation, RetrainRequest(**operation.request))
            return
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

    def _retrain(self, operation: Operation, request: RetrainRequest) -> None:
        self._operations.admit(request)
        self._operations.note(operation.id, self._sandbox.notice)
        folder, failed = self._operations.folder_of(operation.id), None
        words = self._retrainer.prepare(request.proposal, folder)
        limits = replace(self._limits, timeout_s=min(self._limits.timeout_s, request.training_s))
        try:
            self._run_trainer(operation, words, limits)
        except BuildError as error:
            if self._ended_by(operation) is not None:
                raise
            check_plain(folder)
            failed = error
        result = self._retrainer.finish(request.proposal, folder, operation.id, failed)
        self._operations.note(operation.id, str(result["reason"]))
        self._operations.succeed(operation.id, result)

    def _compile(self, operation: Operation, request: BuildRequest) -> None:
        self._run_trainer(operation, compile_words(request, self._operations.folder_of(operation.id)), self._limits)

    def _run_trainer(self, operation: Operation, words: list[str], limits: Limits) -> None:
        folder = self._operations.folder_of(operation.id)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)

        def tell(line: str) -> None:
            self._operations.note(operation.id, line)

        for note in self._releases.notes():
            tell(note)
        trainer = [sys.executable, "-m", "trainer", *words, *self._releases.options()]
        command = self._sandbox.wrap(trainer, folder, limits)
        run_child(command, folder, limits, tell, lambda: self._ended_by(operation), self._releases.environment())
        check_plain(folder)

    def _ended_by(self, operation: Operation) -> str | None:
        if self._operations.is_cancelled(operation.id):
            return "cancelled"
        return STOPPED if self._stopping.is_set() else None


def compile_words(request: BuildRequest, folder: Path) -> list[str]:
    """Return the trainer's words for a build whose files lie in `folder`."""
    command = ["compile", str(folder / request.source)]
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
