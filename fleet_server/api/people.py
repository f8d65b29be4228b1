"""Users and API keys: who may use this server, and as what."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import needs
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission, Role, Scope
from fleet_server.services.api_keys import KeyRequest
from fleet_server.services.auth import Principal, read_scope
from fleet_server.store.access import ApiKey

router = APIRouter(prefix="/api/v1", tags=["access"])
Administrator = Annotated[Principal, needs(Permission.ACCESS)]
Names = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=100)]
Password = Annotated[str, Field(max_length=200)]


class NewKey(Body):
    """What a key is to be; without groups or models it is not limited to some, without ttl_s it has no end."""

    name: Annotated[str, Field(max_length=64)]
    role: Role
    groups: Names | None = None
    models: Names | None = None
    ttl_s: Annotated[int, Field(ge=1, le=10 * 365 * 24 * 3600)] | None = None


class KeyShown(Answer):
    """A key without its text."""

    id: str
    name: str
    role: str
    groups: list[str] | None
    models: list[str] | None
    author: str
    created: Time
    expires: Time | None
    used: Time | None
    revoked: Time | None


class KeyMade(KeyShown):
    """A new key; its text is shown this once."""

    key: str


class NewUser(Body):
    """A person, who signs in by a name and a password."""

    name: Annotated[str, Field(max_length=64)]
    password: Password
    role: Role


class UserChange(Body):
    """What is to be another; either ends all of the user's sessions."""

    role: Role | None = None
    password: Password | None = None


class UserShown(Answer):
    """A user; `changed` is when the role or the password last did."""

    name: str
    role: str
    created: Time
    changed: Time


def _show(key: ApiKey) -> dict[str, object]:
    scope = read_scope(key)
    return {
        "id": key.id,
        "name": key.label,
        "role": key.role,
        "groups": None if scope.groups is None else sorted(scope.groups),
        "models": None if scope.models is None else sorted(scope.models),
        "author": key.author,
        "created": key.created,
        "expires": key.expires,
        "used": key.used,
        "revoked": key.revoked,
    }


@router.get("/keys")
def list_keys(context: Context, paging: Paging, _asker: Administrator) -> ListOf[KeyShown]:
    """List keys, the revoked ones among them."""
    page = context.api_keys.list_keys(paging)
    return ListOf(items=[KeyShown.model_validate(_show(item)) for item in page.items], next=page.next)


@router.post("/keys", status_code=201)
def make_key(body: NewKey, context: Context, asker: Administrator) -> KeyMade:
    """Make a key."""
    scope = Scope(
        None if body.groups is None else frozenset(body.groups), None if body.models is None else frozenset(body.models)
    )
    made, text = context.api_keys.make(KeyRequest(body.name, body.role, scope, body.ttl_s), asker.name)
    return KeyMade.model_validate(_show(made) | {"key": text})


@router.delete("/keys/{key}", status_code=204)
def revoke_key(key: str, context: Context, asker: Administrator) -> None:
    """Revoke a key, and end the sessions that it opened."""
    context.api_keys.revoke(key, asker.name)


@router.get("/users")
def list_users(context: Context, paging: Paging, _asker: Administrator) -> ListOf[UserShown]:
    """List users by name."""
    page = context.users.list_users(paging)
    return ListOf(items=[UserShown.model_validate(item) for item in page.items], next=page.next)


@router.post("/users", status_code=201)
def add_user(body: NewUser, context: Context, asker: Administrator) -> UserShown:
    """Add a user."""
    return UserShown.model_validate(context.users.add(body.name, body.password, body.role, asker.name))


@router.patch("/users/{name}")
def change_user(name: str, body: UserChange, context: Context, asker: Administrator) -> UserShown:
    """Give a user another role or password, and end all sessions of the user."""
    changed = context.users.change(name, asker.name, role=body.role, password=body.password)
    return UserShown.model_validate(changed)


@router.delete("/users/{name}", status_code=204)
def remove_user(name: str, context: Context, asker: Administrator) -> None:
    """Remove a user, and end all sessions of the user."""
    context.users.remove(name, asker.name)
