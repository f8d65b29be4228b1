"""The state and the routes of the fake REST API: what each call finds, changes and answers."""

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fleet_server.core.drift_policy import DriftPolicy, plain_policy
from tests.fakes import web_data, web_evidence, web_proposals


class ProblemError(Exception):
    """A refusal in the form of RFC 9457."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.status = status
        words = f"{title}: {detail}" if detail else title
        phrase = HTTPStatus(status).phrase
        self.body = {"type": "about:blank", "title": phrase, "status": status, "detail": words}


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
    proposals: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    codes: set[str] = field(default_factory=lambda: {"first"})
    stream: list[tuple[str, Any]] = field(default_factory=list)
    keep_streaming: bool = False
    connected: bool = True
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
            "all": web_data.group("all", "", range(4), {"digits": 2}),
            "north": web_data.group("north", "site=north", range(2), {}),
        },
        rollouts={
            "r3": [
                web_data.rollout("r3", "halted", "1 device failed, 0 are allowed", ("returned", *["waiting"] * 3), 3)
            ],
            "r2": [web_data.rollout("r2", "running", "", ("succeeded", "succeeded", "offered", "waiting"))],
            "r1": [web_data.rollout("r1", "succeeded", "", done, 1)],
        },
        operations={row["id"]: [row] for row in web_data.OPERATIONS},
        proposals={row["id"]: dict(row) for row in web_proposals.PROPOSALS},
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
        "broker_connected": fleet.connected,
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
    wanted = fleet.groups[query["group"]]["query"] if "group" in query else ""
    pairs = [part.split("=") for part in wanted.split(",") if part]
    rows = [row for row in fleet.devices.values() if all(row["labels"].get(k) == v for k, v in pairs)]
    return [row for row in rows if query.get("q", "") in row["id"] + row["profile"]]


def _models(fleet: FakeFleet, _query: dict[str, str]) -> list[Any]:
    found = []
    for model, numbers in itertools.groupby(sorted(fleet.versions), key=lambda key: key[0]):
        newest = max(number for _, number in numbers)
        found.append({"name": model, "created": fleet.versions[model, newest]["created"], "latest": newest})
    return found


def _model(fleet: FakeFleet, query: dict[str, str], _body: Any, name: str) -> Answer:
    return 200, _one({row["name"]: row for row in _models(fleet, query)}, name, "model")


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
    started = {
        **web_data.OPERATIONS[0],
        "id": "op9",
        "subject": model,
        "state": "running",
        "progress": [],
        "result": None,
    }
    half = {**started, "progress": ["convert"]}
    done = {**started, "state": "succeeded", "progress": ["convert", "prove"], "result": {"model": model, "version": 1}}
    fleet.operations["op9"] = [half, done]
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
    fleet.groups[body["name"]] = web_data.group(body["name"], body["query"], range(4), {})
    return 201, fleet.groups[body["name"]]


def _start(fleet: FakeFleet, _query: dict[str, str], body: Any) -> Answer:
    _one(fleet.versions, (body["model"], body["version"]), "version")
    if body["dry_run"]:
        rows = [row for phase in fleet.rollouts["r1"][0]["phases"] for row in phase["devices"]]
        plan = [{**row, "phase": min(index, 1), "reason": ""} for index, row in enumerate(rows)]
        plan[3] |= {"variant": None, "reason": "no variant fits: runtime tflite"}
        return 200, {"devices": plan}
    waiting = web_data.rollout("r9", "running", "", ("waiting",) * 4)
    fleet.rollouts["r9"] = [waiting, web_data.rollout("r9", "succeeded", "", ("succeeded",) * 4)]
    return 201, waiting


def _explain(fleet: FakeFleet, _query: dict[str, str], _body: Any, identity: str) -> Answer:
    return 200, web_evidence.explanation(_one(fleet.rollouts, identity, "rollout")[0])


def _steer(fleet: FakeFleet, _query: dict[str, str], _body: Any, identity: str, verb: str) -> Answer:
    row = _one(fleet.rollouts, identity, "rollout")[0]
    if row["state"] in ("succeeded", "halted", "aborted"):
        raise ProblemError(409, f"the rollout {identity} cannot {verb}", f"it is {row['state']} already")
    row["state"] = {"pause": "paused", "abort": "aborted"}.get(verb, "running")
    return 200, row


def _word(fleet: FakeFleet, _query: dict[str, str], body: Any, identity: str, verb: str) -> Answer:
    row = _one(fleet.proposals, identity, "proposal")
    if row["state"] != "proposed":
        raise ProblemError(409, f"the proposal {identity} cannot {verb}", f"it is {row['state']} already")
    row |= {"state": "accepted"} if verb == "accept" else {"state": "declined", "reason": f"declined: {body['reason']}"}
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
    _route("GET", "/models/{m}", _model),
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
    _route("GET", "/rollouts/{id}/explain", _explain),
    _route("POST", "/rollouts/{id}/{verb}", _steer),
    _route("GET", "/proposals", _listed(lambda fleet, _: list(fleet.proposals.values()))),
    _route("GET", "/proposals/{id}", _show("proposal")),
    _route("POST", "/proposals/{id}/accept", lambda f, q, b, key: _word(f, q, b, key, "accept")),
    _route("POST", "/proposals/{id}/decline", lambda f, q, b, key: _word(f, q, b, key, "decline")),
    _route("GET", "/health", _listed(lambda fleet, _: fleet.health)),
    _route("GET", "/models/{model}/drift-policy", lambda _f, _q, _b, _model: (200, plain_policy(DriftPolicy()))),
    _route("PUT", "/models/{model}/drift-policy", lambda _f, _q, body, _model: (200, body)),
    _route("GET", "/drift", lambda _f, query, _b: (200, web_data.drift(query["model"], int(query.get("version", 2))))),
    _route("GET", "/events", _listed(lambda fleet, _: fleet.events)),
    _route("GET", "/decisions", _listed(lambda fleet, _: fleet.decisions)),
    _route("GET", "/operations", _listed(lambda fleet, _: [states[0] for states in fleet.operations.values()])),
    _route("GET", "/operations/{id}", _show("operation")),
    _route("DELETE", "/operations/{id}", _delete("operation")),
    _route("POST", "/signin-codes", _code),
    _route("GET", "/session", lambda _f, _q, _b: (200, web_data.ASKER)),
)
