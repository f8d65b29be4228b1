"""Signing in and out: by a one-time link, or by a name and a password; and the sessions that are open."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field

from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import Reader, address_of, cookie_name, limited, needs, require_own_page
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import GRANTS, Permission
from fleet_server.services.auth import CODE_MS, SESSION_MS, Principal
from fleet_server.services.clock import now_ms
from fleet_server.services.errors import DeniedError
from fleet_server.services.throttles import Kind

router = APIRouter(tags=["access"])


class Credentials(Body):
    """A name and a password."""

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=200)]


class PasswordChange(Body):
    """One's own password, and the next one."""

    old: Annotated[str, Field(max_length=200)]
    new: Annotated[str, Field(max_length=200)]


class AskerShown(Answer):
    """Who asks, and what they may do; the limits of a key, null where there is none."""

    name: str
    role: str
    kind: str
    permissions: list[str]
    groups: list[str] | None
    models: list[str] | None


class SessionShown(Answer):
    """A signed-in browser of a user, or of a key."""

    id: str
    user: str | None
    key: str | None
    address: str
    created: Time
    seen: Time
    expires: Time


class CodeMade(Answer):
    """A one-time sign-in link."""

    code: str
    url: str
    expires: Time


@router.get("/signin", status_code=303, response_class=RedirectResponse, dependencies=[limited(Kind.SIGNIN)])
def follow_link(code: Annotated[str, Query(max_length=200)], context: Context, request: Request) -> RedirectResponse:
    """Open a session by a one-time code, and go to the page."""
    session = context.auth.open_session(code, address_of(request))
    answer = RedirectResponse("/", status_code=303)
    _set_cookie(answer, request, session)
    return answer


@router.post("/api/v1/session", status_code=204, dependencies=[limited(Kind.SIGNIN)])
def sign_in(body: Credentials, context: Context, request: Request, response: Response) -> None:
    """Open a browser's session by a name and a password."""
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        require_own_page(request)
    _set_cookie(response, request, context.users.sign_in(body.name, body.password, address_of(request)))


@router.get("/api/v1/session")
def show_asker(asker: Reader) -> AskerShown:
    """Say who asks, and what they may do."""
    groups, models = asker.scope.groups, asker.scope.models
    return AskerShown(
        name=asker.name,
        role=asker.role,
        kind="user" if asker.user is not None else "key",
        permissions=sorted(GRANTS[asker.role]),
        groups=None if groups is None else sorted(groups),
        models=None if models is None else sorted(models),
    )


@router.delete("/api/v1/session", status_code=204)
def sign_out(asker: Reader, context: Context, request: Request, response: Response) -> None:
    """End the session that asks."""
    if asker.session is None:
        raise DeniedError("a key is not signed in: revoke it instead (edgeloop key revoke)")
    context.auth.end_session(asker.session, asker.name)
    response.delete_cookie(cookie_name(request), httponly=True, samesite="strict", secure=request.url.scheme == "https")


@router.put("/api/v1/session/password", status_code=204)
def change_own_password(body: PasswordChange, asker: Reader, context: Context) -> None:
    """Give oneself another password; all of one's sessions end."""
    context.users.change_own_password(asker, body.old, body.new)


@router.post("/api/v1/signin-codes", status_code=201)
def make_code(context: Context, asker: Reader) -> CodeMade:
    """Make a one-time link that signs a browser in as who asks."""
    code = context.auth.make_code(asker)
    return CodeMade.model_validate(
        {"code": code, "url": f"{context.url}/signin?code={code}", "expires": now_ms() + CODE_MS}
    )


@router.get("/api/v1/sessions")
def list_sessions(
    context: Context, paging: Paging, _asker: Annotated[Principal, needs(Permission.ACCESS)]
) -> ListOf[SessionShown]:
    """List the open sessions."""
    page = context.auth.list_sessions(paging)
    items = [
        SessionShown.model_validate(
            {
                "id": item.id,
                "user": item.owner_user,
                "key": item.owner_key,
                "address": item.address,
                "created": item.created,
                "seen": item.seen,
                "expires": item.expires,
            }
        )
        for item in page.items
    ]
    return ListOf(items=items, next=page.next)


@router.delete("/api/v1/sessions/{session}", status_code=204)
def end_session(session: str, context: Context, asker: Annotated[Principal, needs(Permission.ACCESS)]) -> None:
    """End a session."""
    context.auth.end_session(session, asker.name)


def _set_cookie(answer: Response, request: Request, session: str) -> None:
    answer.set_cookie(
        cookie_name(request),
        session,
        max_age=SESSION_MS // 1000,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
