"""A fake of the server's REST API over real HTTP on loopback: for the command's and the page's tests, and to look at.

Run by itself, `python -m tests.fakes.web_api [port]`, it serves the page with a small fleet that moves.
"""

import itertools
import json
import mimetypes
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import web_data

KEY = "el_test_key"
SESSION = "a-session"
STATIC = Path(__file__).parents[2] / "fleet_server" / "web" / "static"
SECURITY = "default-src 'self'"


class ProblemError(Exception):
    """A refusal in the form of RFC 9457."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.status = status
        self.body = {"type": "about:blank", "title": title, "status": status, "detail": detail}


@dataclass
class FakeFleet:
    """The fake's state: lists by noun, what was asked of it, and one-time codes of sign-in links."""

    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollouts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    health: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    codes: set[str] = field(default_factory=lambda: {"first"})
    stream: list[tuple[str, Any]] = field(default_factory=list)
    keep_streaming: bool = False
    closing: threading.Event = field(default_factory=threading.Event)

    def now(self, states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the present state of what moves a step with each look."""
        return states.pop(0) if len(states) > 1 else states[0]


def full_fleet() -> FakeFleet:
    """Return the fleet of `web_data`."""
    done = ("succeeded",) * 4
    return FakeFleet(
        devices={row["id"]: row for row in map(web_data.device, range(4))},
        versions={("digits", number): web_data.version(number) for number in (1, 2)},
        groups={
            "all": {"name": "all", "query": "", "devices": 4, "targets": [{"model": "digits", "version": 2}]},
            "north": {"name": "north", "query": "site=north", "devices": 2, "targets": []},
        },
        rollouts={
            "r3": [
                web_data.rollout("r3", "halted", "1 device failed, 0 are allowed", ("returned", *["waiting"] * 3), 3)
            ],
            "r2": [web_data.rollout("r2", "running", "", ("succeeded", "succeeded", "offered", "waiting"))],
            "r1": [web_data.rollout("r1", "succeeded", "", done, 1)],
        },
        operations={row["id"]: [row] for row in web_data.OPERATIONS},
        events=list(web_data.EVENTS),
        decisions=list(web_data.DECISIONS),
        health=[web_data.health(index, step) for step in range(40) for index in range(4)],
    )


Answer = tuple[int, Any]
Route = tuple[str, re.Pattern[str], Callable[..., Answer]]


def _one(rows: dict[Any, Any], key: Any, noun: str) -> Any:
    if key not in rows:
        raise ProblemError(404, f"no {noun} {key!r}", f"no {noun} of that name is known here")
    return rows[key]


def _fleet(fleet: FakeFleet, query: dict[str, str], _body: Any) -> Answer:
    rows = fleet.devices.values()
    return 200, {
        "devices": len(rows),
        "online": sum(row["presence"] == "ready" for row in rows),
        "in_sync": sum(row["in_sync"] for row in rows),
        "models": len({model for model, _ in fleet.versions}),
        "rollouts_active": sum(states[0]["state"] == "running" for states in fleet.rollouts.values()),
        "messages_per_s": 3.4,
        "server": {"version": "0.1.0", "broker": "127.0.0.1:18830", "kind": "mosquitto"},
    }


def _listed(find: Callable[[FakeFleet, dict[str, str]], list[Any]]) -> Callable[..., Answer]:
    def answer(fleet: FakeFleet, query: dict[str, str], _body: Any) -> Answer:
        rows = find(fleet, query)
        for name in ("device", "model"):
            if name in query:
                rows = [row for row in rows if row.get(name) == query[name]]
        start, limit = int(query.get("cursor", 0)), int(query.get("limit", 100))
        end = start + limit
        return 200, {"items": rows[start:end], "next": str(end) if end < len(rows) else None}

    return answer


def _devices(fleet: FakeFleet, query: dict[str, str]) -> list[Any]:
    wanted = query.get("q") or (fleet.groups[query["group"]]["query"] if "group" in query else "")
    pairs = [part.split("=") for part in wanted.split(",") if part]
    return [row for row in fleet.devices.values() if all(row["labels"].get(k) == v for k, v in pairs)]


def _models(fleet: FakeFleet, _query: dict[str, str]) -> list[Any]:
    found = []
    for model, numbers in itertools.groupby(sorted(fleet.versions), key=lambda key: key[0]):
        newest = max(number for _, number in numbers)
        card = fleet.versions[model, newest]["card"]
        told = {"task": card["task"], "description": card["description"], "created": card["created"]}
        found.append({"model": model, "versions": newest, "latest": newest, **told})
    return found


def _versions(fleet: FakeFleet, _query: dict[str, str], _body: Any, model: str) -> Answer:
    rows = [row for (name, _), row in fleet.versions.items() if name == model]
    if not rows:
        raise ProblemError(404, f"no model {model!r}", "no model of that name is known here")
    return 200, {"items": rows, "next": None}


def _version(fleet: FakeFleet, _q: dict[str, str], _b: Any, model: str, number: str, part: str | None) -> Answer:
    found = _one(fleet.versions, (model, int(number)), "version")
    return 200, found if part is None else found[part] if part == "card" else {"items": found[part], "next": None}


def _push(fleet: FakeFleet, _query: dict[str, str], parts: Any, model: str) -> Answer:
    number = 1 + max((number for name, number in fleet.versions if name == model), default=0)
    fleet.versions[model, number] = {**web_data.version(2), "model": model, "version": number}
    return 201, fleet.versions[model, number]


def _build(fleet: FakeFleet, _query: dict[str, str], parts: Any, model: str) -> Answer:
    started = {**web_data.OPERATIONS[0], "id": "op9", "subject": model, "state": "running", "result": None}
    fleet.operations["op9"] = [started, {**started, "state": "succeeded", "result": {"model": model, "version": 1}}]
    return 202, started


def _label(fleet: FakeFleet, _query: dict[str, str], body: Any, name: str) -> Answer:
    row = _one(fleet.devices, name, "device")
    merged = {**row["labels"], **body["labels"]}
    row["labels"] = {key: value for key, value in merged.items() if value is not None}
    return 200, row


def _make_token(fleet: FakeFleet, _query: dict[str, str], body: Any) -> Answer:
    fleet.tokens["t1"] = {"id": "t1", "used": 0, "expires": web_data.iso(-60), "label": "", "labels": {}, **body}
    return 201, {"id": "t1", "token": "s3cret.pin", "expires": web_data.iso(-60)}


def _make_group(fleet: FakeFleet, _query: dict[str, str], body: Any) -> Answer:
    if body["name"] in fleet.groups:
        raise ProblemError(409, f"the group {body['name']!r} exists", "names of groups are unique")
    fleet.groups[body["name"]] = {**body, "devices": 4, "targets": []}
    return 201, fleet.groups[body["name"]]


def _start(fleet: FakeFleet, _query: dict[str, str], body: Any) -> Answer:
    _one(fleet.versions, (body["model"], body["version"]), "version")
    if body["dry_run"]:
        rows = [row for phase in fleet.rollouts["r1"][0]["phases"] for row in phase["devices"]]
        plan = [{**row, "phase": min(index, 1), "reason": ""} for index, row in enumerate(rows)]
        plan[3] |= {"phase": None, "variant": None, "reason": "no variant fits: runtime tflite"}
        return 200, {"devices": plan}
    waiting = web_data.rollout("r9", "running", "", ("waiting",) * 4)
    fleet.rollouts["r9"] = [waiting, web_data.rollout("r9", "succeeded", "", ("succeeded",) * 4)]
    return 201, waiting


def _steer(fleet: FakeFleet, _query: dict[str, str], _body: Any, identity: str, verb: str) -> Answer:
    row = _one(fleet.rollouts, identity, "rollout")[0]
    if row["state"] in ("succeeded", "halted", "aborted"):
        raise ProblemError(409, f"the rollout {identity} cannot {verb}", f"it is {row['state']} already")
    row["state"] = {"pause": "paused", "abort": "aborted"}.get(verb, "running")
    return 200, row


def _show(noun: str) -> Callable[..., Answer]:
    def answer(fleet: FakeFleet, _query: dict[str, str], _body: Any, key: str) -> Answer:
        found = _one(getattr(fleet, f"{noun}s"), key, noun)
        return 200, fleet.now(found) if isinstance(found, list) else found

    return answer


def _delete(noun: str) -> Callable[..., Answer]:
    def answer(fleet: FakeFleet, _query: dict[str, str], _body: Any, key: str) -> Answer:
        _one(getattr(fleet, f"{noun}s"), key, noun)
        del getattr(fleet, f"{noun}s")[key]
        return 204, None

    return answer


def _code(fleet: FakeFleet, _query: dict[str, str], _body: Any) -> Answer:
    fleet.codes.add("second")
    return 201, {"code": "second", "url": "http://127.0.0.1/signin?code=second", "expires": web_data.iso(-10)}


def _route(method: str, path: str, answer: Callable[..., Answer]) -> Route:
    return method, re.compile(re.sub(r"\{\w+\}", r"([^/]+)", path)), answer


ROUTES: tuple[Route, ...] = (
    _route("GET", "/fleet", _fleet),
    _route("GET", "/devices", _listed(_devices)),
    _route("GET", "/devices/{id}", _show("device")),
    _route("PATCH", "/devices/{id}", _label),
    _route("DELETE", "/devices/{id}", _delete("device")),
    _route("GET", "/models", _listed(_models)),
    _route("GET", "/models/{m}/versions", _versions),
    ("GET", re.compile(r"/models/([^/]+)/versions/(\d+)(?:/(card|variants))?"), _version),
    _route("POST", "/models/{m}/versions", _push),
    _route("POST", "/models/{m}/builds", _build),
    _route("GET", "/tokens", _listed(lambda fleet, _: list(fleet.tokens.values()))),
    _route("POST", "/tokens", _make_token),
    _route("DELETE", "/tokens/{id}", _delete("token")),
    _route("GET", "/groups", _listed(lambda fleet, _: list(fleet.groups.values()))),
    _route("POST", "/groups", _make_group),
    _route("GET", "/groups/{name}", _show("group")),
    _route("DELETE", "/groups/{name}", _delete("group")),
    _route("GET", "/rollouts", _listed(lambda fleet, _: [states[0] for states in fleet.rollouts.values()])),
    _route("POST", "/rollouts", _start),
    _route("GET", "/rollouts/{id}", _show("rollout")),
    _route("POST", "/rollouts/{id}/{verb}", _steer),
    _route("GET", "/health", _listed(lambda fleet, _: fleet.health)),
    _route("GET", "/drift", lambda _f, query, _b: (200, web_data.drift(query["model"], int(query.get("version", 2))))),
    _route("GET", "/events", _listed(lambda fleet, _: fleet.events)),
    _route("GET", "/decisions", _listed(lambda fleet, _: fleet.decisions)),
    _route("GET", "/operations", _listed(lambda fleet, _: [states[0] for states in fleet.operations.values()])),
    _route("GET", "/operations/{id}", _show("operation")),
    _route("DELETE", "/operations/{id}", _delete("operation")),
    _route("POST", "/signin-codes", _code),
)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Say nothing: a test's output is its own."""

    def _answer(self) -> None:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        try:
            body = self._body()
            if split.path.startswith("/api/v1/"):
                self._api(split.path.removeprefix("/api/v1"), query, body)
            else:
                self._page(split.path, query)
        except ProblemError as problem:
            self._send(problem.status, json.dumps(problem.body).encode(), "application/problem+json")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data)
            heads = [part.get_params(header="content-disposition") for part in message.iter_parts()]
            return [(dict(head)["name"], dict(head).get("filename")) for head in heads]
        return json.loads(data) if data else None

    def _api(self, path: str, query: dict[str, str], body: Any) -> None:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        if self.headers.get("Authorization") != f"Bearer {KEY}" and (cookie is None or cookie.value != SESSION):
            raise ProblemError(401, "not signed in", "the API key or the session is missing or not known here")
        fleet = self.server.fleet
        fleet.calls.append((str(self.command), path, query, body))
        if path == "/stream":
            self._stream()
            return
        for method, pattern, answer in ROUTES:
            if method == self.command and (match := pattern.fullmatch(path)):
                status, found = answer(fleet, query, body, *match.groups())
                self._send(status, b"" if found is None else json.dumps(found).encode(), "application/json")
                return
        raise ProblemError(404, "no such route", f"{self.command} {path}")

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for kind, data in self.server.fleet.stream:
            self.wfile.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        while self.server.fleet.keep_streaming and not self.server.fleet.closing.wait(1.0):
            self.wfile.write(b": still here\n\n")

    def _page(self, path: str, query: dict[str, str]) -> None:
        if path == "/signin" and query.get("code") in self.server.fleet.codes:
            self.server.fleet.codes.discard(query["code"])
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Set-Cookie", f"session={SESSION}; HttpOnly; SameSite=Strict; Path=/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        file = STATIC / ("index.html" if path == "/" else path.removeprefix("/static/"))
        if STATIC not in file.resolve().parents or not file.is_file():
            raise ProblemError(404, "no such page", path)
        self._send(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", SECURITY)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fleet: FakeFleet, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fleet = fleet


@contextmanager
def serving(fleet: FakeFleet, port: int = 0) -> Iterator[str]:
    """Serve a fleet on loopback and yield the address."""
    server = _Server(fleet, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        fleet.closing.set()
        server.shutdown()
        thread.join(5)
        server.server_close()


if __name__ == "__main__":
    shown = full_fleet()
    shown.keep_streaming = True
    shown.codes |= {str(number) for number in range(100)}
    with serving(shown, int(sys.argv[1]) if len(sys.argv) > 1 else 8010) as address:
        print(f"{address}/signin?code=1")
        threading.Event().wait()
