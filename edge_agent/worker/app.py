"""The worker's composition root: one main loop that obeys the supervisor, beside the threads that serve.

House rules: the main loop waits in one poll for commands, closed windows and the next beat, so a beat says that the
process turns. Without a model nothing heavy is imported. When the supervisor is gone, the worker ends.
"""

import contextlib
import gc
import logging
import os
import queue
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_agent.adapters.http_message import Limits
from edge_agent.adapters.http_server import HttpServer
from edge_agent.adapters.marks import Marker
from edge_agent.contract.messages import Proof
from edge_agent.contract.states import Reason
from edge_agent.core.control import (
    SNAPSHOT_S,
    Beat,
    Command,
    Configure,
    Drain,
    Drained,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    Serve,
    Serving,
)
from edge_agent.worker.channel import ControlChannel, SupervisorGoneError
from edge_agent.worker.local_api import LocalApi
from edge_agent.worker.memory import read_memory

if TYPE_CHECKING:
    from edge_agent.worker.meter import Counted
    from edge_agent.worker.serving import ServedModel

_log = logging.getLogger(__name__)
_TERMINATED_DRAIN_S = 5.0
_IDLE_S = 60.0


class Worker:
    """One worker process: `run` returns when it was drained or its supervisor is gone."""

    def __init__(
        self,
        channel: ControlChannel,
        listeners: Sequence[socket.socket],
        *,
        limits: Limits,
        threads: int,
        marker: Marker | None = None,
    ) -> None:
        self._channel = channel
        self._listeners = tuple(listeners)
        self._limits = limits
        self._threads = threads
        self._marker = marker or Marker()
        self._models: dict[str, ServedModel] = {}
        self._server: HttpServer | None = None
        self._beat_s = 1.0
        self._snapshot_s = SNAPSHOT_S
        self._next_snapshot = 0.0
        self._next_beat: float | None = None
        self._drain_until: float | None = None
        self._counted: queue.SimpleQueue[Counted] = queue.SimpleQueue()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    def run(self) -> bool:
        """Obey until the end; say whether every connection's thread ended with it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._terminate())
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        try:
            while not self._finished():
                ready = {fd for fd, _events in poll.poll(self._wait_s() * 1000)}
                if self._channel.fileno() in ready:
                    for command in self._channel.receive():
                        self._obey(command)
                if self._wake_reader in ready:
                    self._clear_wake()
                self._send_counted()
                self._beat_if_due()
            return self._finish()
        except SupervisorGoneError as error:
            _log.warning("supervisor_gone", extra={"error": str(error)})
            return self._abandon()
        finally:
            signal.set_wakeup_fd(-1)

    def _obey(self, command: Command) -> None:
        match command:
            case Load():
                self._load(command)
            case Serve():
                self._serve()
            case Configure():
                self._configure(command)
            case Drain(deadline_s):
                self._drain(deadline_s)

    def _load(self, command: Load) -> None:
        self._beat_s, self._snapshot_s = command.beat_s, command.snapshot_s
        models: dict[str, ServedModel] = {}
        proofs: list[Proof] = []
        for place, wanted in enumerate(command.models):
            self._marker.set(place, 1)  # a model that ends the process while it is loaded is known by this
            failure = self._load_one(wanted, command, models, proofs)
            self._marker.set(place, 0)
            if failure is not None:
                self._channel.send(failure)
                return
        self._models = models
        for place, wanted in enumerate(command.models):
            models[wanted.model].mark_with(self._marker, place)
        gc.collect()
        gc.freeze()  # the runtime's modules stay for good: no collection has to walk them between two predictions
        self._channel.send(Loaded(tuple(proofs)))

    def _load_one(
        self, wanted: LoadModel, command: Load, models: "dict[str, ServedModel]", proofs: list[Proof]
    ) -> LoadFailed | None:
        try:
            # numpy and everything above it come with the first model.
            from edge_agent.worker.bundle import BundleError
            from edge_agent.worker.loading import load_model
        except (ImportError, MemoryError) as error:
            reason = Reason.OUT_OF_MEMORY if isinstance(error, MemoryError) else Reason.LOAD_FAILED
            return LoadFailed(wanted.digest, reason, f"numpy cannot be imported here: {error}")
        try:
            served, proof = load_model(
                wanted,
                is_new=wanted.digest in command.prove,
                threads=self._threads,
                settings=command.settings,
                on_counted=self._on_counted,
                keeps_inputs=command.feedback,
            )
        except BundleError as error:
            return LoadFailed(wanted.digest, error.reason, error.detail[:1000])
        except Exception as error:  # noqa: BLE001 - whatever a bundle does to a runtime is that bundle's failure
            _log.exception("load_failed")
            return LoadFailed(wanted.digest, Reason.LOAD_FAILED, f"{type(error).__name__}: {error}"[:1000])
        models[wanted.model] = served
        if proof is not None:
            proofs.append(proof)
        return None

    def _serve(self) -> None:
        if self._server is None:
            api = LocalApi(self._models)
            self._server = HttpServer(self._listeners, api, self._limits, api.note_refused)
            self._server.start()
        self._channel.send(Serving())
        self._next_beat = time.monotonic()
        self._next_snapshot = self._next_beat + self._snapshot_s

    def _configure(self, command: Configure) -> None:
        for name, model in self._models.items():
            model.set_threshold(command.thresholds.get(name))
            model.meter.configure(command.settings)

    def _drain(self, deadline_s: float) -> None:
        if self._drain_until is None:
            self._drain_until = time.monotonic() + deadline_s
            if self._server is not None:
                self._server.drain(deadline_s)

    def _terminate(self) -> None:
        self._drain(_TERMINATED_DRAIN_S)

    def _finished(self) -> bool:
        if self._drain_until is None:
            return False
        return self._server is None or not self._server.connections or time.monotonic() >= self._drain_until

    def _wait_s(self) -> float:
        """Return how long the loop may wait: to the next beat or, draining, until connections may have ended."""
        now = time.monotonic()
        if self._drain_until is not None and self._server is not None:
            self._server.wait_drained(min(0.05, max(0.0, self._drain_until - now)))
            return 0.0
        return _IDLE_S if self._next_beat is None else max(0.0, self._next_beat - now)

    def _beat_if_due(self) -> None:
        now = time.monotonic()
        if self._next_beat is None or now < self._next_beat:
            return
        self._next_beat = now + self._beat_s
        memory = read_memory()
        for model in self._models.values():
            model.meter.tick(memory.anonymous_mb)
        if now >= self._next_snapshot:
            self._next_snapshot = now + self._snapshot_s
            for model in self._models.values():
                model.meter.snapshot()
        beats = tuple(model.meter.beat() for model in self._models.values())
        oldest = max((model.oldest_request_s() for model in self._models.values()), default=0.0)
        self._channel.send(Beat(beats, oldest, memory.anonymous_mb, memory.data_mb))

    def _finish(self) -> bool:
        clean = self._close_server()
        for model in self._models.values():
            model.meter.flush()
        self._send_counted()
        self._channel.send(Drained())
        return clean

    def _abandon(self) -> bool:
        return self._close_server()

    def _close_server(self) -> bool:
        if self._server is None:
            return True
        self._server.close()
        return self._server.wait_drained(0.0)

    def _on_counted(self, counted: "Counted") -> None:
        """Take what a meter has counted, from any thread, in its order."""
        self._counted.put(counted)
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._wake_writer, b"w")

    def _send_counted(self) -> None:
        while not self._counted.empty():
            self._channel.send(self._counted.get())

    def _clear_wake(self) -> None:
        try:
            while os.read(self._wake_reader, 4096):
                pass
        except BlockingIOError:
            return
