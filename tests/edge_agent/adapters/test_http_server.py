"""The threaded server over real sockets: order, deadlines, limits, draining."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_agent.adapters.http_message import Answer, Limits, Request
from edge_agent.adapters.http_server import HttpServer
from tests.fakes.workers import listen_tcp

LIMITS = Limits(head_bytes=2000, body_bytes=300_000, idle_s=5.0, request_s=0.3, send_s=0.5, yield_s=0.2, connections=3)


class Echo:
    """Answers what it was asked; `gate` holds back requests to /wait."""

    def __init__(self) -> None:
        self.refused: list[Exception] = []
        self.gate = threading.Event()

    def __call__(self, request: Request) -> Answer:
        if request.path == "/wait":
            self.gate.wait(10)
        if request.path == "/bug":
            raise RuntimeError("a bug")
        if request.path == "/much":
            return Answer(200, b"x" * 50_000_000)
        return Answer(200, f"{request.method} {request.path} ".encode() + request.body, "text/plain")


@contextmanager
def serving(limits: Limits = LIMITS) -> Iterator[tuple[HttpServer, tuple[str, int], Echo]]:
    echo = Echo()
    server = HttpServer([listener := listen_tcp()], echo, limits, echo.refused.append)
    address = listener.getsockname()
    server.start()
    try:
        yield server, address, echo
    finally:
        echo.gate.set()
        server.close()
        assert server.wait_drained(5)


def _connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


def _get(path: str, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: d", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _read(sock: socket.socket, method: str = "GET") -> tuple[int, str | None, bytes]:
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return response.status, response.headers.get("connection"), response.read()


def _read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def _eventually(check) -> None:
    deadline = time.monotonic() + 5
    waiter = threading.Event()
    while not check():
        assert time.monotonic() < deadline
        waiter.wait(0.01)


def test_pipelined_requests_are_answered_in_order_on_one_connection() -> None:
    with serving() as (_server, address, _echo), _connect(address) as sock:
        sock.sendall(_get("/one") + _get("/two") + _get("/three", Connection="close"))
        data = _read_all(sock)
        assert [part.split(b"\r\n\r\n", 1)[1] for part in data.split(b"HTTP/1.1 200 OK")[1:]] == [
            b"GET /one ",
            b"GET /two ",
            b"GET /three ",
        ]
        assert data.count(b"connection: close") == 1


def test_head_has_the_length_and_no_body() -> None:
    with serving() as (_server, address, _echo), _connect(address) as sock:
        sock.sendall(b"HEAD /a HTTP/1.1\r\nHost: d\r\n\r\n" + _get("/b", Connection="close"))
        data = _read_all(sock)
        assert b"content-length: 8\r\n\r\nHTTP/1.1 200" in data


def test_a_body_is_asked_for_with_100_continue_and_not_when_it_is_too_large() -> None:
    head = "POST /a HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
    with serving() as (_server, address, echo):
        with _connect(address) as sock:
            sock.sendall(head.format(3).encode())
            assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"abc")
            assert _read(sock) == (200, None, b"POST /a abc")
        with _connect(address) as sock:
            sock.sendall(head.format(300_001).encode())
            status, connection, _body = _read(sock)
            assert (status, connection) == (413, "close")
        assert [getattr(error, "path", None) for error in echo.refused] == ["/a"]


def test_a_refusal_reaches_a_peer_that_is_still_sending() -> None:
    with serving() as (_server, address, _echo), _connect(address) as sock:
        sock.sendall(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 200_000)
        assert _read(sock)[0] == 413


def test_a_large_body_in_chunks_arrives_whole() -> None:
    body = b"".join(b"1000\r\n" + b"y" * 4096 + b"\r\n" for _ in range(60)) + b"0\r\n\r\n"
    with serving() as (_server, address, _echo), _connect(address) as sock:
        sock.sendall(b"POST /a HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert _read(sock)[2] == b"POST /a " + b"y" * 4096 * 60


def test_a_request_that_never_ends_is_refused_in_time_and_an_idle_peer_is_not() -> None:
    with serving() as (_server, address, _echo), _connect(address) as idle, _connect(address) as slow:
        slow.sendall(b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 10\r\n\r\nabc")
        assert _read(slow)[:2] == (408, "close")
        idle.sendall(_get("/late"))
        assert _read(idle)[0] == 200


def test_a_peer_that_does_not_read_loses_its_connection() -> None:
    with serving() as (server, address, _echo), _connect(address) as sock:
        sock.sendall(_get("/much"))
        _eventually(lambda: server.connections == 1)
        _eventually(lambda: server.connections == 0)


def test_a_bug_in_a_handler_is_a_500_and_the_connection_lives() -> None:
    with serving() as (_server, address, _echo), _connect(address) as sock:
        for path, status in (("/bug", 500), ("/fine", 200)):
            sock.sendall(_get(path))
            assert _read(sock)[0] == status


def test_garbage_is_answered_and_closed() -> None:
    with serving() as (_server, address, _echo), _connect(address) as sock:
        sock.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert _read_all(sock).startswith(b"HTTP/1.1 ")


def test_over_the_limit_the_connection_that_idles_longest_makes_room() -> None:
    with serving() as (_server, address, _echo):
        kept = [_connect(address) for _ in range(3)]
        for sock in kept:
            sock.sendall(_get("/in"))
            assert _read(sock)[0] == 200
        with _connect(address) as fourth:
            fourth.sendall(_get("/fourth"))
            assert _read(fourth)[0] == 200
        assert kept[0].recv(10) == b""
        for sock in kept:
            sock.close()


def test_a_full_server_ends_no_connection_for_nobody() -> None:
    """A fresh connection's first request may still be on its way: it is not taken for idle."""
    with serving() as (server, address, _echo):
        socks = [_connect(address) for _ in range(3)]
        _eventually(lambda: server.connections == 3)
        with _connect(address) as fourth:
            for sock in socks:
                sock.sendall(_get("/first"))
                assert _read(sock)[0] == 200
            fourth.sendall(_get("/fourth"))
            assert _read(fourth)[0] == 200
        for sock in socks:
            sock.close()


def test_over_the_limit_busy_connections_are_left_alone_and_newcomers_queue() -> None:
    with serving() as (server, address, echo):
        busy = [_connect(address) for _ in range(3)]
        for sock in busy:
            sock.sendall(_get("/wait"))
        _eventually(lambda: server.connections == 3)
        with _connect(address) as fourth:
            fourth.sendall(_get("/fourth"))
            echo.gate.set()
            assert _read(fourth)[0] == 200
        for sock in busy:
            assert _read(sock)[0] == 200
            sock.close()


def test_draining_stops_accepting_and_answers_what_is_open_once_more() -> None:
    with serving() as (server, address, echo), _connect(address) as waiting, _connect(address) as idle:
        waiting.sendall(_get("/wait"))
        idle.sendall(_get("/in"))
        assert _read(idle)[:2] == (200, None)
        server.drain(5.0)
        with pytest.raises(ConnectionRefusedError):
            _connect(address)
        idle.sendall(_get("/once") + _get("/more"))
        assert _read_all(idle).count(b"HTTP/1.1 200") == 2
        assert not server.wait_drained(0.05)
        echo.gate.set()
        assert _read(waiting)[:2] == (200, "close")
        assert server.wait_drained(5.0)


def test_a_drain_ends_idle_connections_at_its_deadline() -> None:
    with serving() as (server, address, _echo), _connect(address) as idle:
        idle.sendall(_get("/in"))
        assert _read(idle)[0] == 200
        server.drain(0.2)
        assert idle.recv(10) == b""
        assert server.wait_drained(5.0)


def test_another_server_takes_over_on_the_same_listener() -> None:
    with listen_tcp() as listener:
        address = listener.getsockname()
        first = HttpServer([listener.dup()], Echo(), LIMITS)
        second = HttpServer([listener.dup()], lambda _request: Answer(200, b"second"), LIMITS)
        first.start()
        first.drain(1.0)
        with _connect(address) as sock:  # queues while nobody accepts
            sock.sendall(_get("/a"))
            second.start()
            assert _read(sock)[2] == b"second"
        first.close()
        second.close()
