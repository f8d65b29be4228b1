"""Traffic moves from one real worker to the next, and a drain keeps its promises."""

import json
import socket
import threading
from pathlib import Path

import pytest

from edge_agent.core.control import Beat, Drain, Drained, Loaded, WindowClosed
from tests.fakes import bundles
from tests.fakes.workers import WorkerProcess, ask, listen_tcp, read_answer, request, worker

pytestmark = pytest.mark.system


def test_traffic_moves_between_two_workers_without_a_failed_request(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path / "bundle")
    message = request(b"[[1, 2]]")
    with listen_tcp() as tcp:
        port = tcp.getsockname()[1]
        stop = threading.Event()
        answers: list[list[bytes]] = [[], [], []]

        def ask_on(kept: bool, found: list[bytes]) -> None:
            sock: socket.socket | None = None
            while not stop.is_set():
                sock = sock or socket.create_connection(("127.0.0.1", port), timeout=10)
                try:
                    answer = ask(sock, message)
                except OSError as error:
                    answer = repr(error).encode()
                found.append(answer)
                if not kept or b" close " in answer[:12] or not answer.startswith(b"200"):
                    sock.close()
                    sock = None
            if sock is not None:
                sock.close()

        old = WorkerProcess([tcp])
        old.load(bundle, version=1)
        old.serve()
        threads = [
            threading.Thread(target=ask_on, args=(kept, found))
            for kept, found in zip((True, True, False), answers, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            for version in (2, 3, 4):
                new = WorkerProcess([tcp])
                assert isinstance(new.load(bundle, version=version), Loaded)
                new.serve()
                assert old.drain() == 0
                old.close()
                old = new
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            old.close()
        for found in answers:
            failed = [answer for answer in found if not answer.startswith(b"200")]
            assert failed == []
            versions = {json.loads(answer.split(b" ", 2)[2])["version"] for answer in found}
            assert {1, 4} <= versions


def test_a_drain_answers_what_arrived_and_idle_connections_once_more(tmp_path: Path) -> None:
    slow = bundles.slow(tmp_path / "slow", model="slow", iterations=1_000_000)
    quick = bundles.logistic(tmp_path / "quick", model="quick")
    with listen_tcp() as tcp, worker([tcp]) as process:
        process.load(slow, quick, prove=False)
        process.serve()
        address = ("127.0.0.1", tcp.getsockname()[1])
        with (
            socket.create_connection(address, timeout=20) as busy,
            socket.create_connection(address, timeout=20) as idle,
        ):
            assert ask(idle, request(b"[[1, 2]]", "/predict/quick")).startswith(b"200  ")
            busy.sendall(request(b"[[1, 2]]", "/predict/slow"))
            while process.expect(Beat).oldest_request_s == 0:
                pass
            process.send(Drain(20.0))
            answer = b""
            while b" close " not in answer[:12]:  # until the worker has read the command
                answer = ask(idle, request(b"[[1, 2]]", "/predict/quick"))
                assert answer.startswith(b"200")
            assert read_answer(busy).startswith(b"200 close ")
            process.expect(Drained)
            assert process.process.wait(10) == 0
        rows = {a.model: a.counts.rows for a in process.seen if isinstance(a, WindowClosed)}
        assert rows["slow"] == 1


def test_an_idle_connection_does_not_hold_a_drain_beyond_its_deadline(tmp_path: Path) -> None:
    with listen_tcp() as tcp, worker([tcp]) as process:
        process.load(bundles.logistic(tmp_path))
        process.serve()
        with socket.create_connection(tcp.getsockname(), timeout=10) as idle:
            assert ask(idle, request(b"[[1, 2]]")).startswith(b"200")
            assert process.drain(0.3) == 0
            assert idle.recv(10) == b""
