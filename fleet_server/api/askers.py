"""Who asks, and whether they may: each route declares one permission, as `Annotated[Principal, needs(...)]`.

House rules: a route without a declaration is open to all, and a test names those few; a change by a limited key passes
where the route's path names a model or group within the limits, or where its handler asks `require_within` itself
(`needs_within`); a browser's session may change things from this server's own page alone.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from fleet_server.api.context import ApiContext, Context
from fleet_server.api.problems import PROBLEMS, UnauthenticatedError
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.services.errors import DeniedError
from fleet_server.services.throttles import Kind, name_address

COOKIE = "edgeloop_session"
# RFC 6265bis, section 4.1.3.2: a browser takes this name over TLS alone, for this very host, for every path.
SECURE_COOKIE = "__Host-" + COOKIE
_SAFE_METHODS = frozenset({"GET", "HEAD"})

_bearer = HTTPBearer(auto_error=False, description="An API key: `edgeloop up` writes one to its context file.")
_cookie = APIKeyCookie(
    name=COOKIE, auto_error=False, description=f"The session of a browser; over TLS it is named {SECURE_COOKIE}."
)


def cookie_name(request: Request) -> str:
    """Return the name of the session's cookie over this connection."""
    return SECURE_COOKIE if request.url.scheme == "https" else COOKIE


def address_of(request: Request) -> str:
    """Return what a client's address is counted by."""
    return name_address(None if request.client is None else request.client.host)


def authenticate(
    request: Request,
    context: Context,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    _session: Annotated[str | None, Security(_cookie)],
) -> Principal:
    """Return who asks.

    Raises:
        UnauthenticatedError: neither a valid key nor an open session came with the request.
        DeniedError: a browser's session was used from another site's page.
        ThrottledError: too many requests of this asker, or too many from this address that did not hold.
    """
    found = _identify(request, context, bearer)
    context.throttle.count(Kind.ASKER, found.identity)
    return found


def _identify(request: Request, context: ApiContext, bearer: HTTPAuthorizationCredentials | None) -> Principal:
    if bearer is not None:
        if (found := context.auth.check_key(bearer.credentials)) is not None:
            return found
        refuse(request, context)
        raise UnauthenticatedError("this API key is not valid here: unknown, expired or revoked")
    session = request.cookies.get(cookie_name(request))
    if session is not None:
        if (found := context.auth.check_session(session)) is not None:
            if request.method not in _SAFE_METHODS:
                require_own_page(request)
            return found
        refuse(request, context)
    raise UnauthenticatedError(
        "this needs an API key (Authorization: Bearer KEY) or a signed-in browser (`edgeloop signin` prints a link)"
    )


def refuse_upload(request: Request, context: ApiContext) -> tuple[HTTPStatus, str] | None:
    """Return why a large body of this request is not even read, or None; the route asks for everything once more."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=text) if scheme.lower() == "bearer" else None
        _identify(request, context, bearer).require(Permission.PUBLISH)
    except tuple(PROBLEMS) as error:
        return PROBLEMS[type(error)], str(error)
    return None


def refuse(request: Request, context: ApiContext) -> None:
    """Count a secret that did not hold.

    Raises:
        ThrottledError: there were too many from this address.
    """
    context.throttle.count(Kind.REFUSED, address_of(request))


def require_own_page(request: Request) -> None:
    """Let a browser's change pass that comes from a page of this server.

    By Fetch Metadata (W3C), which scripts cannot set; where a browser sends none, by Origin (RFC 6454).

    Raises:
        DeniedError: it comes from elsewhere, or the browser does not say from where.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site == "same-origin"
    else:
        parts = urlsplit(origin or "")
        own = (parts.scheme, parts.netloc) == (request.url.scheme, request.url.netloc)
    if not own:
        raise DeniedError("a session may be used from this server's own page alone")


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets those pass who have a permission; `in_handler` says that the handler checks a limited key by itself."""

    permission: Permission
    in_handler: bool = False

    def __call__(self, request: Request, asker: Annotated[Principal, Security(authenticate)]) -> Principal:
        """Return who asks.

        Raises:
            UnauthenticatedError: nobody known does.
            DeniedError: they may not do this.
        """
        asker.require(self.permission)
        if self.permission is not Permission.READ and not self.in_handler:
            asker.require_within(group=request.path_params.get("group"), model=request.path_params.get("model"))
        return asker


def needs(permission: Permission) -> Any:
    """Return the dependency of a route for those who have this permission."""
    return Security(Gate(permission))


def needs_within(permission: Permission) -> Any:
    """Return the dependency of a route whose handler calls `require_within` of who asks, before it changes anything."""
    return Security(Gate(permission, in_handler=True))


Reader = Annotated[Principal, needs(Permission.READ)]


def limited(kind: Kind) -> Any:
    """Return the dependency of an open route: so many of a kind from each address."""

    def count(request: Request, context: Context) -> None:
        context.throttle.count(kind, address_of(request))

    return Depends(count)
