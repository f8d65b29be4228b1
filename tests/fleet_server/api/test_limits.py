"""Who asks too often waits, and nobody else does; by each route's own kind of limit."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from fleet_server.api.security import SMALL_BODY_BYTES
from fleet_server.core.permissions import Role
from fleet_server.services.api_keys import KeyRequest
from fleet_server.services.throttles import RATES, Kind, Rate, Throttle
from tests.fakes.server_app import Served, served
from tests.fakes.server_routes import all_routes
from tests.fleet_server.api.test_roles import OPEN

NOBODY = {"Authorization": ""}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("limits")) as found:
        yield found


@pytest.fixture(autouse=True)
def _strict(fleet: Served) -> None:
    """Two of each kind, counted anew for each test."""
    throttle = Throttle({kind: Rate(2, 60) for kind in Kind})
    fleet.server.application.state.context = replace(fleet.server.context, throttle=throttle)


def ask(fleet: Served, method: str, path: str, headers: dict[str, str]) -> int:
    answer = fleet.client.request(method, path, headers=headers)
    if answer.status_code == 429:
        assert answer.headers["content-type"] == "application/problem+json"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["cache-control"] == "no-store"
    return answer.status_code


@pytest.mark.parametrize(("method", "path"), sorted(OPEN))
def test_every_open_route_has_a_limit_of_each_address(fleet: Served, method: str, path: str) -> None:
    found = [ask(fleet, method, path, NOBODY) for _ in range(3)]
    assert 429 not in found[:2]
    assert found[2] == 429


def test_one_keys_flood_is_that_keys_alone(fleet: Served) -> None:
    make = fleet.server.context.api_keys.make
    one, two = ({"Authorization": f"Bearer {make(KeyRequest(name, Role.VIEWER), 't')[1]}"} for name in ("one", "two"))
    assert [ask(fleet, "GET", "/api/v1/groups", one) for _ in range(3)] == [200, 200, 429]
    assert ask(fleet, "GET", "/api/v1/groups", two) == 200
    assert ask(fleet, "GET", "/healthz", NOBODY) == 200


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer guess"}, NOBODY | {"Cookie": "edgeloop_session=guess"}])
def test_guesses_are_limited_and_a_right_key_still_passes(fleet: Served, headers: dict[str, str]) -> None:
    assert [ask(fleet, "GET", "/api/v1/groups", headers) for _ in range(3)] == [401, 401, 429]
    assert fleet.client.request("GET", "/api/v1/groups").status_code == 200


@pytest.mark.parametrize(
    ("who", "status"), [("nobody", 401), ("stranger", 401), ("viewer", 403), ("publisher", 422), ("session", 403)]
)
def test_a_large_body_is_read_of_who_may_upload_alone(
    fleet: Served, who: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form is spooled to disk before its route is asked."""
    key = fleet.server.context.api_keys
    given = {"nobody": "", "stranger": "Bearer guess", "session": ""}
    if who in ("viewer", "publisher"):
        given[who] = f"Bearer {key.make(KeyRequest(f'up-{who}', Role(who)), 't')[1]}"
    headers = {"Authorization": given[who]}
    if who == "session":  # from another site's page
        session = fleet.server.context.auth.open_session(fleet.server.sign_in_code(fleet.key))
        headers |= {"Cookie": f"edgeloop_session={session}", "Sec-Fetch-Site": "cross-site"}
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
        for block in [head, *[bytes(65536)] * 64, b"\r\n--b--\r\n"]:
            read += len(block)
            yield block

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = fleet.client.request("POST", "/api/v1/models/digits/versions", headers=headers | kind, content=body())
    assert answer.status_code == status, answer.text
    assert (read > 2 * SMALL_BODY_BYTES) == (who == "publisher")


def test_what_a_fleet_and_its_operator_do_is_far_below_the_limits() -> None:
    """A thousand boards that enrol from one address within a minute; a program that asks a hundred times a second."""
    assert RATES.keys() == set(Kind)
    per_minute = {kind: rate.count * 60 / rate.window_s for kind, rate in RATES.items()}
    assert per_minute[Kind.ENROL] >= 1000
    assert per_minute[Kind.ASKER] >= 6000
    assert per_minute[Kind.PASSWORD] <= per_minute[Kind.SIGNIN] <= 60


def test_routes_are_either_open_with_a_limit_or_behind_a_gate(fleet: Served) -> None:
    assert {(method, path) for method, path, gates in all_routes(fleet.server.application) if not gates} == OPEN
