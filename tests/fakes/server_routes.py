"""Every route of the application, read off the built application itself, however deep its routers are nested."""

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from fleet_server.api.askers import Gate


def all_routes(app: FastAPI) -> Iterator[tuple[str, str, tuple[Gate, ...]]]:
    """Yield (method, path, the gates before it) of each route; mounted plain files are none."""
    for found in iter_route_contexts(app.routes):
        if isinstance(found.original_route, APIRoute):
            gates = tuple(item.call for item in found.dependant.dependencies if isinstance(item.call, Gate))
            for method in sorted(found.methods or ()):
                yield method, str(found.path), gates
