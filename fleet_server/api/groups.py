"""Groups."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import Reader, needs
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.store.groups import Group

router = APIRouter(prefix="/api/v1/groups", tags=["groups"])


class NewGroup(Body):
    """A name and a query: `key=value`, `key!=value` or `key`, joined by commas; empty is every device.

    With `accept_auto`, versions that automatic retraining made and signed may be rolled out to it.
    """

    name: Annotated[str, Field(max_length=64)]
    query: Annotated[str, Field(max_length=2000)] = ""
    accept_auto: bool = False


class GroupShown(Answer):
    """A group, its devices, and the version of each model that it has come to."""

    name: str
    query: str
    created: Time
    accept_auto: bool
    devices: int
    members: list[str]
    targets: dict[str, int]


def _show(shown: tuple[Group, tuple[str, ...], dict[str, int]]) -> GroupShown:
    group, members, targets = shown
    return GroupShown.model_validate(
        {
            "name": group.name,
            "query": group.query,
            "created": group.created,
            "accept_auto": group.accept_auto,
            "devices": len(members),
            "members": list(members),
            "targets": targets,
        }
    )


@router.get("")
def list_groups(context: Context, paging: Paging, _asker: Reader) -> ListOf[GroupShown]:
    """List groups by name."""
    page = context.groups.list_groups(paging)
    return ListOf(items=[_show(item) for item in page.items], next=page.next)


@router.post("", status_code=201)
def make_group(body: NewGroup, context: Context, asker: Annotated[Principal, needs(Permission.GROUPS)]) -> GroupShown:
    """Make a group."""
    context.groups.create(body.name, body.query, asker.name, accept_auto=body.accept_auto)
    return _show(context.groups.show(body.name))


@router.get("/{name}")
def show_group(name: str, context: Context, _asker: Reader) -> GroupShown:
    """Show a group."""
    return _show(context.groups.show(name))


@router.delete("/{name}", status_code=204)
def remove_group(name: str, context: Context, asker: Annotated[Principal, needs(Permission.GROUPS)]) -> None:
    """Remove a group; its devices keep what they run."""
    context.groups.remove(name, asker.name)
