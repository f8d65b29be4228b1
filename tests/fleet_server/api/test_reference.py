"""The reference names every route, and no other."""

import re
from pathlib import Path

from fastapi.routing import APIRoute

from fleet_server.api.application import ROUTERS

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "rest-api.md"


def test_reference_and_routes_are_the_same() -> None:
    routes = {
        f"{method} {route.path}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    named = set(re.findall(r"^\| `([A-Z]+ [^`]+)` \|", REFERENCE.read_text(), re.MULTILINE))
    assert named == routes
