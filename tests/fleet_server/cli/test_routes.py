"""What the command and the page call exists in the real server, and the fake answers for nothing that does not."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fleet_server.api import application
from fleet_server.web import STATIC
from tests.fakes.web_routes import ROUTES

CLI = Path(__file__).parents[3] / "fleet_server" / "cli"
CALL = re.compile(r"client\.(get|pages|post|patch|put|delete|upload)\(\s*f?\"(/[^\"]*)\"")
FETCH = re.compile(r"(?:get|list)\([\"`](/[^\"`]*)[\"`]")
SEND = re.compile(r"send\(\"([A-Z]+)\", [\"`](/[^\"`]*)[\"`]")
METHODS = {
    "get": "get",
    "pages": "get",
    "post": "post",
    "patch": "patch",
    "put": "put",
    "delete": "delete",
    "upload": "post",
}


def plain(path: str) -> str:
    """A path with every parameter as `*`."""
    return re.sub(r"\$?\{[^}]*\}|\(\[\^/\]\+\)|\(\\d\+\)", "*", path)


@pytest.fixture(scope="module")
def served() -> set[tuple[str, str]]:
    """(method, path) of every route below /api/v1, from the real server's OpenAPI."""
    app = FastAPI()
    for router in application.ROUTERS:
        app.include_router(router)
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {
        (method, plain(path.removeprefix("/api/v1")))
        for path, methods in paths.items()
        if path.startswith("/api/v1")
        for method in methods
    }


def calls() -> set[tuple[str, str]]:
    """What the command's source calls."""
    return {
        (METHODS[verb], plain(path))
        for file in CLI.glob("*.py")
        for verb, path in CALL.findall(file.read_text(encoding="utf-8"))
    }


def test_the_command_calls_what_exists(served: set[tuple[str, str]]) -> None:
    found = calls()
    assert len(found) > 25
    assert found - served == set()


def test_the_page_calls_what_exists(served: set[tuple[str, str]]) -> None:
    found = {("get", plain(path)) for file in STATIC.glob("*.js") for path in FETCH.findall(file.read_text())}
    found |= {
        (method.lower(), plain(path)) for file in STATIC.glob("*.js") for method, path in SEND.findall(file.read_text())
    }
    assert {("post", "/session"), ("delete", "/session")} <= found
    assert len(found) > 11
    assert found - served == set()
    assert ("get", "/stream") in served


def test_the_fake_answers_for_nothing_else(served: set[tuple[str, str]]) -> None:
    faked = {(method.lower(), plain(pattern.pattern)) for method, pattern, _ in ROUTES}
    odd = ("get", "/models/*/versions/*(?:/(card|variants))?")
    assert odd in faked
    assert faked - served == {odd}
