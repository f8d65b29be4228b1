"""Lists come in pages that together hold everything once; problems are RFC 9457; bodies have limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.store.errors import UnavailableError
from fleet_server.store.pages import CursorError, decode_cursor, encode_cursor
from tests.fakes.server_app import Served, served


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("lists")) as found:
        token = found.token(uses=7)
        for number in range(7):
            found.enrol(f"pi-{number}", token, profile="odd" if number % 2 else "even")
        found.group("odd", "profile=odd")
        yield found


def pages(fleet: Served, path: str, limit: int) -> list[list[Any]]:
    found, cursor = [], None
    while True:
        after = f"&cursor={cursor}" if cursor else ""
        page = fleet.call("GET", f"{path}limit={limit}{after}")
        found.append(page["items"])
        cursor = page["next"]
        if cursor is None:
            return found


@pytest.mark.parametrize(("path", "total"), [("/devices?", 7), ("/devices?group=odd&", 3), ("/devices?q=pi-3&", 1)])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_hold_everything_once(fleet: Served, path: str, total: int, limit: int) -> None:
    found = pages(fleet, path, limit)
    ids = [item["id"] for page in found for item in page]
    assert ids == sorted(set(ids))
    assert len(ids) == total
    assert all(len(page) == limit for page in found[:-1])


def test_newest_first_lists_turn_pages_too(fleet: Served) -> None:
    found = [item["device"] for page in pages(fleet, "/events?", 2) for item in page if item["code"] == "device_ready"]
    assert found == [f"pi-{number}" for number in reversed(range(7))]


@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=%00", "limit=0", "limit=1001", "limit=x", "cursor=aTE"])
def test_senseless_pages_are_refused(fleet: Served, query: str) -> None:
    fleet.call("GET", f"/devices?{query}", 422)


@given(st.one_of(st.integers(0, 2**60), st.text(max_size=50)))
def test_cursors_come_back(key: int | str) -> None:
    assert decode_cursor(encode_cursor(key)) == key


@given(st.text(max_size=40))
def test_foreign_cursors_are_refused_or_read(text: str) -> None:
    try:
        decode_cursor(text)
    except CursorError:
        return


def test_problems_say_what_and_where(fleet: Served) -> None:
    answer = fleet.call("GET", "/devices/ghost", 404)
    assert answer == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no device 'ghost'",
        "instance": "/api/v1/devices/ghost",
    }
    wrong = fleet.call("POST", "/groups", 422, json={"name": "x", "query": "a=b", "extra": 1})
    assert wrong["errors"][0]["at"] == "body.extra"
    assert "condition 2 is empty" in fleet.call("POST", "/groups", 422, json={"name": "x", "query": "a=b,,"})["detail"]
    fleet.call("POST", "/groups", 409, json={"name": "odd", "query": ""})
    for path in ("/models/none", "/rollouts/none", "/operations/none", "/groups/none", "/drift?model=none"):
        assert fleet.call("GET", path, 404)["detail"].startswith("there is no")


def test_secrets_in_a_wrong_body_are_not_repeated(fleet: Served) -> None:
    answer = fleet.client.request("POST", "/api/v1/enrol", json={"token": ["very-secret"], "device": "x"})
    assert answer.status_code == 422
    assert "very-secret" not in answer.text


def test_body_over_the_limit_is_refused(fleet: Served) -> None:
    big = b'{"name":"' + b"x" * (2 << 20) + b'"}'
    head = {"content-type": "application/json"}
    answer = fleet.client.request("POST", "/api/v1/groups", content=big, headers=head)
    assert answer.status_code == 413

    async def parts() -> Any:
        yield big[: 1 << 20]
        yield big[1 << 20 :]

    answer = fleet.client.request("POST", "/api/v1/groups", content=parts(), headers=head)
    assert answer.status_code == 413


def test_summary_and_metrics_agree(fleet: Served) -> None:
    summary = fleet.call("GET", "/fleet")
    assert (summary["devices"], summary["online"], summary["in_sync"]) == (7, 7, 7)
    text = fleet.client.request("GET", "/metrics").text
    assert "\nedgeloop_devices 7\n" in text
    assert text.endswith("\n")
    names = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_database_that_cannot_be_written_is_503_and_the_controller_waits(tmp_path: Path) -> None:
    import sqlite3

    from fleet_server.store import database

    with served(tmp_path) as fleet:
        blocker = sqlite3.connect(tmp_path / "data" / "server.db", isolation_level=None)
        fleet.server._database._engine.dispose()
        kept, database._BUSY_MS = database._BUSY_MS, 50
        try:
            blocker.execute("BEGIN IMMEDIATE").close()
            answer = fleet.client.request("POST", "/api/v1/groups", json={"name": "x", "query": ""})
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            with pytest.raises(UnavailableError):
                fleet.turn()
            assert fleet.call("GET", "/groups")["items"] == []
        finally:
            database._BUSY_MS = kept
            blocker.execute("ROLLBACK").close()
            blocker.close()
        fleet.group("x")
        fleet.turn()
