"""What routes use: the services, handed to the application once. Who asks is in `fleet_server.api.askers`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request

from fleet_server.services.announcements import Announcer
from fleet_server.services.api_keys import ApiKeys
from fleet_server.services.audit import Audit
from fleet_server.services.auth import Auth
from fleet_server.services.decisions import Decisions
from fleet_server.services.devices import Devices
from fleet_server.services.drift import Drift
from fleet_server.services.enrolment import Enroller
from fleet_server.services.events import Events
from fleet_server.services.explanations import Explanations
from fleet_server.services.feedback import Feedback
from fleet_server.services.fleet import Fleet
from fleet_server.services.groups import Groups
from fleet_server.services.identities import Identities
from fleet_server.services.models import Models
from fleet_server.services.operations import Operations
from fleet_server.services.release_views import ReleaseViews
from fleet_server.services.releases import ImageRepository
from fleet_server.services.renewals import Renewals
from fleet_server.services.retraining import RetrainingServices
from fleet_server.services.rollouts import Rollouts
from fleet_server.services.telemetry import Telemetry
from fleet_server.services.throttles import Throttle
from fleet_server.services.users import Users
from fleet_server.store.pages import PageRequest


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The services behind the routes; `url` is the address that operators use."""

    auth: Auth
    announcer: Announcer
    api_keys: ApiKeys
    audit: Audit
    decisions: Decisions
    devices: Devices
    drift: Drift
    enroller: Enroller
    events: Events
    explanations: Explanations
    feedback: Feedback
    fleet: Fleet
    groups: Groups
    identities: Identities
    image: ImageRepository
    models: Models
    operations: Operations
    release_notice: Callable[[], str]
    release_views: ReleaseViews
    renewals: Renewals
    retraining: RetrainingServices
    rollouts: Rollouts
    telemetry: Telemetry
    throttle: Throttle
    users: Users
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


def _page(
    cursor: Annotated[str | None, Query(max_length=200)] = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> PageRequest:
    return PageRequest(cursor, limit)


Paging = Annotated[PageRequest, Depends(_page)]
