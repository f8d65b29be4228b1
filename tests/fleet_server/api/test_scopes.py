"""A limited key changes what is within its limits and nothing else, by whatever route; and reads everything."""

from collections.abc import Iterator

import httpx
import pytest

from fleet_server.core.permissions import Permission, Role, Scope
from fleet_server.services.api_keys import KeyRequest
from tests.fakes.server_app import Served, served
from tests.fakes.server_http import listening
from tests.fakes.server_routes import all_routes
from tests.fakes.server_versions import read_files, write_version

NORTH = Scope(groups=frozenset({"north"}))
DIGITS = Scope(models=frozenset({"digits"}))
BOTH = Scope(frozenset({"north"}), frozenset({"digits"}))
SCOPES = {"north": NORTH, "digits": DIGITS, "both": BOTH}
ROUTES_CHECKED_IN_HANDLERS = {
    ("POST", "/api/v1/rollouts"),
    ("POST", "/api/v1/rollouts/{rollout}/approve"),
    ("POST", "/api/v1/rollouts/{rollout}/{verb}"),
    ("DELETE", "/api/v1/operations/{operation}"),
    ("PUT", "/api/v1/models/{model}/pipeline"),
    ("DELETE", "/api/v1/models/{model}/pipeline"),
    ("POST", "/api/v1/models/{model}/proposals"),
    ("POST", "/api/v1/proposals/{proposal}/accept"),
    ("POST", "/api/v1/proposals/{proposal}/decline"),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("scopes")) as found:
        for name in ("north", "south"):
            found.group(name, f"site={name}")
            found.enrol(f"pi-{name}", found.token(labels={"site": name}))
        for model in ("digits", "wine"):
            found.upload(f"{model}-v1", model.encode(), model)
        yield found


@pytest.fixture(scope="module")
def keys(fleet: Served) -> dict[str, dict[str, str]]:
    """The headers of a key with all rights within each scope."""
    make = fleet.server.context.api_keys.make
    texts = {name: make(KeyRequest(f"s-{name}", Role.ADMIN, scope), "test")[1] for name, scope in SCOPES.items()}
    return {name: {"Authorization": f"Bearer {text}"} for name, text in texts.items()}


@pytest.mark.parametrize(
    ("key", "group", "model", "passes"),
    [
        ("north", "north", "wine", True),
        ("north", "south", "wine", False),
        ("digits", "south", "digits", True),
        ("digits", "north", "wine", False),
        ("both", "north", "digits", True),
        ("both", "south", "digits", False),
        ("both", "north", "wine", False),
    ],
)
def test_a_rollout_is_within_the_limits_from_its_start_to_its_end(
    fleet: Served, keys: dict[str, dict[str, str]], key: str, group: str, model: str, passes: bool
) -> None:
    body = {"model": model, "version": 1, "group": group}
    dry = fleet.client.request("POST", "/api/v1/rollouts", headers=keys[key], json=body | {"dry_run": True})
    assert dry.status_code == (200 if passes else 403)
    started = fleet.client.request("POST", "/api/v1/rollouts", headers=keys[key], json=body)
    assert started.status_code == (201 if passes else 403)
    identity = started.json()["id"] if passes else fleet.call("POST", "/rollouts", 201, json=body)["id"]
    for verb in ("pause", "abort"):
        moved = fleet.client.request("POST", f"/api/v1/rollouts/{identity}/{verb}", headers=keys[key])
        assert moved.status_code == (200 if passes else 403)
    if not passes:
        fleet.call("POST", f"/rollouts/{identity}/abort")


@pytest.mark.parametrize(("key", "passes"), [("digits", True), ("north", False), ("both", False)])
def test_versions_are_a_models_and_no_groups(
    fleet: Served, keys: dict[str, dict[str, str]], key: str, passes: bool
) -> None:
    files = read_files(write_version(fleet.folder / f"up-{key}", "digits", f"by {key}".encode()))
    answer = fleet.client.request("POST", "/api/v1/models/digits/versions", headers=keys[key], files=files)
    assert answer.status_code == (201 if passes else 403), answer.text
    other = fleet.client.request("POST", "/api/v1/models/wine/versions", headers=keys[key], files=files)
    assert other.status_code == 403


def test_whatever_names_nothing_within_the_limits_is_refused(fleet: Served, keys: dict[str, dict[str, str]]) -> None:
    """Else a key for one group would label any device into it."""
    app = fleet.server.application
    tried = 0
    for method, path, gates in all_routes(app):
        if not gates or gates[0].permission is Permission.READ or (method, path) in ROUTES_CHECKED_IN_HANDLERS:
            continue
        place = path.replace("{model}", "wine")
        for headers in keys.values():
            tried += 1
            answer = fleet.client.request(method, place, headers=headers)
            assert answer.status_code == 403, (method, path)
            assert "limited to" in answer.json()["detail"]
    assert tried > 50
    in_handlers = {(method, path) for method, path, gates in all_routes(app) for gate in gates if gate.in_handler}
    assert in_handlers == ROUTES_CHECKED_IN_HANDLERS


def test_a_limited_key_reads_everything(fleet: Served, keys: dict[str, dict[str, str]]) -> None:
    for path in ("/groups/south", "/models/wine", "/devices/pi-south"):
        assert fleet.client.request("GET", f"/api/v1{path}", headers=keys["both"]).status_code == 200


def test_a_browser_opened_by_a_limited_key_is_limited_too(fleet: Served, keys: dict[str, dict[str, str]]) -> None:
    code = fleet.client.request("POST", "/api/v1/signin-codes", headers=keys["north"]).json()["code"]
    cookie = fleet.client.request("GET", f"/signin?code={code}").headers["set-cookie"].split(";")[0]
    session = {"Authorization": "", "Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    shown = fleet.client.request("GET", "/api/v1/session", headers=session).json()
    assert (shown["name"], shown["kind"], shown["groups"], shown["models"]) == ("s-north", "key", ["north"], None)
    body = {"model": "wine", "version": 1, "group": "south"}
    assert fleet.client.request("POST", "/api/v1/rollouts", headers=session, json=body).status_code == 403


def test_revoking_a_key_closes_the_browsers_that_it_opened(fleet: Served) -> None:
    made, text = fleet.server.context.api_keys.make(KeyRequest("short", Role.VIEWER), "test")
    auth = fleet.server.context.auth
    asker = auth.check_key(text)
    assert asker is not None
    session = auth.open_session(auth.make_code(asker))
    assert auth.check_session(session) is not None
    fleet.call("DELETE", f"/keys/{made.id}", 204)
    assert auth.check_session(session) is None
    assert auth.check_key(text) is None


def test_a_stream_ends_soon_after_its_key(fleet: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_server.api.fleet._RECHECK_S", 0.0)
    made, text = fleet.server.context.api_keys.make(KeyRequest("watcher", Role.VIEWER), "test")
    headers = {"Authorization": f"Bearer {text}"}
    with listening(fleet.server.application) as address, httpx.Client(base_url=address, trust_env=False) as http:
        with http.stream("GET", "/api/v1/stream", headers=headers, timeout=20) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            assert next(lines) == "event: fleet"
            fleet.call("DELETE", f"/keys/{made.id}", 204)
            for _ in lines:  # it ends: the timeout says if not
                pass
        assert http.get("/api/v1/stream", headers=headers).status_code == 401


def test_starting_again_with_a_lesser_key_makes_one_with_all_rights(fleet: Served) -> None:
    """`edgeloop up` finds whatever key the environment holds."""
    for number, request in enumerate((KeyRequest("v", Role.VIEWER), KeyRequest("l", Role.ADMIN, NORTH))):
        _, text = fleet.server.context.api_keys.make(request, "test")
        key, new = fleet.server.operator_key(text)
        assert (new, key == text) == (True, False), number
