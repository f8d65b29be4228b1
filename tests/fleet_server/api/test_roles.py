"""Role by route: every route of the application is in this table, and lets in whom it names there, and nobody else."""

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI

from fleet_server.api.application import ROUTERS
from fleet_server.core.permissions import Permission, Role, roles_with
from fleet_server.services.api_keys import KeyRequest
from tests.fakes.server_app import Served, served
from tests.fakes.server_routes import all_routes

OPEN = {
    ("GET", "/ca.pem"),
    ("GET", "/healthz"),
    ("GET", "/signin"),
    ("POST", "/api/v1/enrol"),
    ("GET", "/api/v1/renew"),
    ("POST", "/api/v1/renew"),
    ("POST", "/api/v1/session"),
}
# Written by hand, beside the declarations in the code: a route is opened to more people in two places, or not at all.
TABLE: dict[Permission, set[str]] = {
    Permission.READ: {
        "GET /api/v1/decisions",
        "GET /api/v1/devices",
        "GET /api/v1/devices/{device}",
        "GET /api/v1/drift",
        "GET /api/v1/events",
        "GET /api/v1/feedback",
        "GET /api/v1/fleet",
        "GET /api/v1/groups",
        "GET /api/v1/groups/{name}",
        "GET /api/v1/health",
        "GET /api/v1/models",
        "GET /api/v1/models/{model}",
        "GET /api/v1/models/{model}/versions",
        "GET /api/v1/models/{model}/versions/{version}",
        "GET /api/v1/models/{model}/versions/{version}/card",
        "GET /api/v1/models/{model}/versions/{version}/variants",
        "GET /api/v1/models/{model}/versions/{version}/lineage",
        "GET /api/v1/models/{model}/pipeline",
        "GET /api/v1/proposals",
        "GET /api/v1/proposals/{proposal}",
        "GET /api/v1/operations",
        "GET /api/v1/operations/{operation}",
        "GET /api/v1/releases",
        "GET /api/v1/releases/status",
        "GET /api/v1/rollouts",
        "GET /api/v1/rollouts/{rollout}",
        "GET /api/v1/rollouts/{rollout}/explain",
        "GET /api/v1/session",
        "GET /api/v1/stream",
        "GET /api/v1/tokens",
        "GET /api/v1/windows",
        "GET /api/v1/windows/hours",
        "GET /api/v1/models/{model}/drift-policy",
        "GET /docs",
        "GET /metrics",
        "GET /openapi.json",
        "DELETE /api/v1/session",
        "POST /api/v1/signin-codes",
        "PUT /api/v1/session/password",
    },
    Permission.DEVICES: {
        "PATCH /api/v1/devices/{device}",
        "DELETE /api/v1/devices/{device}",
        "POST /api/v1/devices/{device}/quarantine",
        "POST /api/v1/devices/{device}/revoke",
    },
    Permission.TOKENS: {"POST /api/v1/tokens", "DELETE /api/v1/tokens/{token}"},
    Permission.GROUPS: {"POST /api/v1/groups", "DELETE /api/v1/groups/{name}"},
    Permission.ROLLOUTS: {"POST /api/v1/rollouts", "POST /api/v1/rollouts/{rollout}/{verb}"},
    Permission.PUBLISH: {
        "POST /api/v1/models/{model}/versions",
        "POST /api/v1/models/{model}/builds",
        "PUT /api/v1/models/{model}/pipeline",
        "DELETE /api/v1/models/{model}/pipeline",
        "POST /api/v1/models/{model}/proposals",
        "POST /api/v1/proposals/{proposal}/accept",
        "POST /api/v1/proposals/{proposal}/decline",
        "PUT /api/v1/models/{model}/drift-policy",
        "DELETE /api/v1/operations/{operation}",
        "GET /api/v1/releases/exchange",
        "POST /api/v1/releases",
    },
    Permission.DATA: {"GET /api/v1/models/{model}/feedback", "DELETE /api/v1/models/{model}/feedback"},
    Permission.APPROVE: {
        "POST /api/v1/rollouts/{rollout}/approve",
        "POST /api/v1/devices/{device}/approve",
        "POST /api/v1/devices/{device}/release",
    },
    Permission.AUDIT: {"GET /api/v1/audit", "GET /api/v1/audit/verdict"},
    Permission.ACCESS: {
        "GET /api/v1/keys",
        "POST /api/v1/keys",
        "DELETE /api/v1/keys/{key}",
        "GET /api/v1/users",
        "POST /api/v1/users",
        "PATCH /api/v1/users/{name}",
        "DELETE /api/v1/users/{name}",
        "GET /api/v1/sessions",
        "DELETE /api/v1/sessions/{session}",
    },
}
GUARDED = {route: permission for permission, routes in TABLE.items() for route in routes}
# It answers for as long as it is listened to: that it lets a reader in is shown over a real socket.
ENDLESS = "GET /api/v1/stream"
# A key has no session to end and no password to change: it is refused with words of their own.
SESSIONS_OWN = {"DELETE /api/v1/session", "PUT /api/v1/session/password"}


def bare_application() -> FastAPI:
    """The application's routes without its services."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for router in ROUTERS:
        app.include_router(router)
    return app


def test_every_route_is_in_the_table_and_declares_what_the_table_says() -> None:
    declared = {(method, path): gates for method, path, gates in all_routes(bare_application())}
    assert {route for route, gates in declared.items() if not gates} == OPEN
    found = {f"{method} {path}": gate.permission for (method, path), gates in declared.items() for gate in gates}
    assert found == GUARDED


def test_a_route_in_a_nested_router_is_not_overlooked() -> None:
    inner, outer, app = APIRouter(), APIRouter(), bare_application()
    inner.get("/deep")(lambda: None)
    outer.include_router(inner, prefix="/very")
    app.include_router(outer, prefix="/api/v1")
    assert ("GET", "/api/v1/very/deep", ()) in set(all_routes(app))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("roles")) as found:
        yield found


@pytest.fixture(scope="module")
def keys(fleet: Served) -> dict[str, str]:
    """A key of each role, and keys that hold no longer."""
    api_keys = fleet.server.context.api_keys
    made = {role.value: api_keys.make(KeyRequest(f"k-{role}", role), "test")[1] for role in Role}
    revoked, made["revoked"] = api_keys.make(KeyRequest("k-revoked", Role.ADMIN), "test")
    api_keys.revoke(revoked.id, "test")
    made["expired"] = api_keys.make(KeyRequest("k-expired", Role.ADMIN, ttl_s=60), "test")[1]
    fleet.clock.pass_s(61)
    return made


def ask(fleet: Served, route: str, authorization: str) -> int:
    method, path = route.split()
    place = re.sub(r"\{\w+\}", "1", path).replace("/rollouts/1/1", "/rollouts/1/pause")
    return fleet.client.request(method, place, headers={"Authorization": authorization}).status_code


@pytest.mark.parametrize("route", sorted(GUARDED))
def test_each_role_may_do_what_the_table_says_and_nothing_else(fleet: Served, keys: dict[str, str], route: str) -> None:
    for stranger in ("", "Basic eDp5", "Bearer ek_foreign", f"Bearer {keys['revoked']}", f"Bearer {keys['expired']}"):
        assert ask(fleet, route, stranger) == 401, stranger
    if route == ENDLESS:
        return
    able = roles_with(GUARDED[route])
    for role in Role:
        status = ask(fleet, route, f"Bearer {keys[role]}")
        if role not in able:
            assert status == 403, role
        elif route not in SESSIONS_OWN:
            assert status not in (401, 403), (role, status)
