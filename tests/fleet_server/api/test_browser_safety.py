"""What a browser can be made to do by another site's page: nothing; and what it is told on every answer."""

import re
from collections.abc import Iterator

import pytest

from fleet_server.core.permissions import Role
from tests.fakes.server_app import Served, served

GOOD = "correct horse battery"
NOBODY = {"Authorization": ""}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("browser")) as found:
        found.server.context.users.add("anna", GOOD, Role.OPERATOR, "test")
        yield found


@pytest.fixture(scope="module")
def session(fleet: Served) -> dict[str, str]:
    """The headers of a browser that is signed in as an operator."""
    return NOBODY | {"Cookie": cookie_of(fleet, "/api/v1/session")}


def cookie_of(fleet: Served, path: str) -> str:
    answer = fleet.client.request("POST", path, headers=NOBODY, json={"name": "anna", "password": GOOD})
    assert answer.status_code == 204, answer.text
    return str(answer.headers["set-cookie"].split(";")[0])


CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    {"Origin": "http://elsewhere"},
    {"Origin": "http://testserver.elsewhere"},
    {"Origin": "https://testserver"},
    {"Origin": "http://testserver:81"},
    {"Origin": "null"},
    {},
]
# One route for each unsafe method that a browser knows.
UNSAFE = [
    ("POST", "/api/v1/groups", {"name": "g", "query": ""}),
    ("PATCH", "/api/v1/devices/x", {"labels": {}}),
    ("PUT", "/api/v1/session/password", {"old": GOOD, "new": GOOD}),
    ("DELETE", "/api/v1/groups/g", None),
]


@pytest.mark.parametrize("sent", CROSS_SITE, ids=str)
@pytest.mark.parametrize(("method", "path", "body"), UNSAFE)
def test_another_sites_page_changes_nothing(
    fleet: Served, session: dict[str, str], sent: dict[str, str], method: str, path: str, body: dict[str, str] | None
) -> None:
    answer = fleet.client.request(method, path, headers=session | sent, json=body)
    assert answer.status_code == 403
    assert "own page" in answer.json()["detail"]


@pytest.mark.parametrize(
    "sent", [{"Sec-Fetch-Site": "same-origin", "Origin": "http://elsewhere"}, {"Origin": "http://testserver"}], ids=str
)
def test_its_own_page_does(fleet: Served, session: dict[str, str], sent: dict[str, str]) -> None:
    answer = fleet.client.request("PATCH", "/api/v1/devices/x", headers=session | sent, json={"labels": {}})
    assert answer.status_code == 404


def test_a_key_is_no_browsers_and_comes_from_anywhere(fleet: Served) -> None:
    sent = {"Sec-Fetch-Site": "cross-site"}
    assert fleet.client.request("PATCH", "/api/v1/devices/x", headers=sent, json={"labels": {}}).status_code == 404


@pytest.mark.parametrize("sent", [item for item in CROSS_SITE if item], ids=str)
def test_another_site_signs_nobody_in(fleet: Served, sent: dict[str, str]) -> None:
    body = {"name": "anna", "password": GOOD}
    answer = fleet.client.request("POST", "/api/v1/session", headers=NOBODY | sent, json=body)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_forms_body_signs_nobody_in(fleet: Served) -> None:
    """A page elsewhere can send forms and plain text without asking first; JSON it cannot."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = fleet.client.request(
            "POST",
            "/api/v1/session",
            headers=NOBODY | {"Content-Type": kind},
            content=f'{{"name": "anna", "password": "{GOOD}"}}',
        )
        assert answer.status_code == 422, kind


def test_signing_out_ends_the_session(fleet: Served) -> None:
    own = NOBODY | {"Cookie": cookie_of(fleet, "/api/v1/session"), "Sec-Fetch-Site": "same-origin"}
    shown = fleet.client.request("GET", "/api/v1/session", headers=own).json()
    assert (shown["name"], shown["role"], shown["kind"]) == ("anna", "operator", "user")
    answer = fleet.client.request("DELETE", "/api/v1/session", headers=own)
    assert answer.status_code == 204
    assert 'edgeloop_session=""' in answer.headers["set-cookie"]
    assert fleet.client.request("GET", "/api/v1/session", headers=own).status_code == 401


def test_over_tls_the_cookie_is_the_hosts_own_and_no_other_counts(fleet: Served) -> None:
    body = {"name": "anna", "password": GOOD}
    answer = fleet.client.request("POST", "https://testserver/api/v1/session", headers=NOBODY, json=body)
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    name, value = cookie.split("=")
    assert name == "__Host-edgeloop_session"
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/"} <= set(attributes)
    assert not any(item.startswith("Domain") for item in attributes)
    for sent, status in ((cookie, 200), (f"edgeloop_session={value}", 401)):
        found = fleet.client.request("GET", "https://testserver/api/v1/fleet", headers=NOBODY | {"Cookie": sent})
        assert found.status_code == status


@pytest.mark.parametrize(("scheme", "told"), [("https", True), ("http", False)])
def test_strict_transport_is_told_over_tls_alone(fleet: Served, scheme: str, told: bool) -> None:
    for path in ("/", "/api/v1/fleet", "/nothing"):
        answer = fleet.client.request("GET", f"{scheme}://testserver{path}")
        assert ("strict-transport-security" in answer.headers) == told


@pytest.mark.parametrize("path", ["/api/v1/fleet", "/api/v1/nothing", "/signin?code=x", "/metrics", "/openapi.json"])
def test_answers_of_the_api_are_kept_by_nobody(fleet: Served, path: str) -> None:
    assert fleet.client.request("GET", path).headers["cache-control"] == "no-store"


def test_the_page_runs_its_own_files_alone(fleet: Served) -> None:
    policy = fleet.client.request("GET", "/").headers["content-security-policy"]
    rules = dict(re.split(r"\s+", rule.strip(), maxsplit=1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == rules["form-action"] == "'self'"
    assert (rules["require-trusted-types-for"], rules["trusted-types"]) == ("'script'", "'none'")
    assert "unsafe" not in policy


def test_an_answer_with_data_runs_nothing(fleet: Served) -> None:
    """Should a browser ever show an answer as a page: it has no script, no frame and no form."""
    policy = fleet.client.request("GET", "/api/v1/fleet").headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize("size", [2 * 1024 * 1024])
def test_a_body_in_chunks_has_the_same_limit(fleet: Served, size: int) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(size // 65536):
            yield b" " * 65536

    async def sent() -> "object":
        for block in chunks():
            yield block

    answer = fleet.client.request(
        "POST", "/api/v1/groups", content=sent(), headers={"Content-Type": "application/json"}
    )
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert answer.status_code == 413
