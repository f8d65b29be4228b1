"""What routes use: the services, handed to the application once; and who asks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from fleet_server.api.problems import UnauthenticatedError
from fleet_server.services.announcements import Announcer
from fleet_server.services.auth import Auth, Operator
from fleet_server.services.decisions import Decisions
from fleet_server.services.devices import Devices
from fleet_server.services.drift import Drift
from fleet_server.services.enrolment import Enroller
from fleet_server.services.errors import DeniedError
from fleet_server.services.events import Events
from fleet_server.services.fleet import Fleet
from fleet_server.services.groups import Groups
from fleet_server.services.identities import Identities
from fleet_server.services.models import Models
from fleet_server.services.operations import Operations
from fleet_server.services.renewals import Renewals
from fleet_server.services.rollouts import Rollouts
from fleet_server.services.telemetry import Telemetry
from fleet_server.store.pages import PageRequest

COOKIE = "edgeloop_session"
_SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The services behind the routes; `url` is the address that operators use."""

    auth: Auth
    announcer: Announcer
    decisions: Decisions
    devices: Devices
    drift: Drift
    enroller: Enroller
    events: Events
    fleet: Fleet
    groups: Groups
    identities: Identities
    models: Models
    operations: Operations
    renewals: Renewals
    rollouts: Rollouts
    telemetry: Telemetry
    ca_pem: str
    url: str
    work_folder: Path
    upload_bytes: int


def _context(request: Request) -> ApiContext:
    found = request.app.state.context
    if not isinstance(found, ApiContext):
        raise TypeError("the application was built without its services")
    return found


Context = Annotated[ApiContext, Depends(_context)]

_bearer = HTTPBearer(auto_error=False, description="An API key: `edgeloop up` writes one to its context file.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The session of a browser, opened by /signin.")


def authenticate(
    request: Request,
    context: Context,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    session: Annotated[str | None, Security(_cookie)],
) -> Operator:
    """Return who asks.

    Raises:
        UnauthenticatedError: neither a valid key nor an open session came with the request.
        DeniedError: a browser's session was used from another site's page.
    """
    if bearer is not None:
        found = context.auth.check_key(bearer.credentials)
        if found is None:
            raise UnauthenticatedError("this API key is not valid here")
        return found
    if session is not None and (found := context.auth.check_session(session)) is not None:
        origin = request.headers.get("origin")
        if request.method not in _SAFE_METHODS and origin is not None and urlsplit(origin).netloc != request.url.netloc:
            raise DeniedError("a session may be used from this server's own page alone")
        return found
    raise UnauthenticatedError(
        "this needs an API key (Authorization: Bearer KEY) or a signed-in browser (`edgeloop signin` prints a link)"
    )


Asker = Annotated[Operator, Security(authenticate)]


def _page(
    cursor: Annotated[str | None, Query(max_length=200)] = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> PageRequest:
    return PageRequest(cursor, limit)


Paging = Annotated[PageRequest, Depends(_page)]
