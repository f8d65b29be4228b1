"""Releases: what is signed, what waits for a signature, and the folder that release keys are carried by."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from fleet_server.api.answers import Answer, Body, ListOf
from fleet_server.api.askers import Reader, needs
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal

router = APIRouter(prefix="/api/v1/releases", tags=["releases"])
Publisher = Annotated[Principal, needs(Permission.PUBLISH)]
_MAX_FILES = 64


class ReleaseShown(Answer):
    """A version: `signed`, `unsigned` or `yanked`; its variants by how they stand, and the profiles it may run on."""

    model: str
    version: int
    state: str
    auto: bool
    signed: list[str]
    waiting: list[str]
    yanked: list[str]
    hardware: list[str]


class RoleShown(Answer):
    """The newest metadata of a role; of `keys`, `threshold` must sign it."""

    repository: str
    role: str
    version: int
    expires: str
    threshold: int
    keys: list[str]


class TrustShown(Answer):
    """Both repositories: their roles, the bytes of the pack that every device reads, and how many bundles it lists."""

    roles: list[RoleShown]
    pack_bytes: int
    listed: int
    notice: str


class ExchangeShown(Answer):
    """The files of an exchange folder, by path."""

    files: dict[str, str]


class Push(Body):
    """What was signed: files by path below `signed/`, such as `image/2.targets.json`."""

    files: Annotated[dict[str, str], Field(min_length=1, max_length=_MAX_FILES)]


class Pushed(Answer):
    """What holds after a push: how many bundles are listed, and the roots that came new."""

    listed: int
    roots: list[str]


@router.get("")
def list_releases(context: Context, paging: Paging, _asker: Reader) -> ListOf[ReleaseShown]:
    """List every version by how it stands with the release keys."""
    page = context.release_views.list_versions(paging)
    return ListOf(items=[ReleaseShown.model_validate(item) for item in page.items], next=page.next)


@router.get("/status")
def show_trust(context: Context, _asker: Reader) -> TrustShown:
    """Show both repositories: who signs what, until when."""
    roles, size, listed = context.release_views.roles()
    shown = [RoleShown.model_validate(item) for item in roles]
    return TrustShown(roles=shown, pack_bytes=size, listed=listed, notice=context.release_notice())


@router.get("/exchange")
def fetch_exchange(context: Context, _asker: Publisher) -> ExchangeShown:
    """Return the exchange folder: what is held, what waits for a signature, and this server's online keys."""
    return ExchangeShown(files=context.image.exchange())


@router.post("", status_code=201)
def push_release(body: Push, context: Context, asker: Publisher) -> Pushed:
    """Take what release keys or root keys have signed: as a whole, or nothing of it.

    A root says whose keys count from now on, and the first one is taken on the word of who brings it.
    """
    if any(path.endswith("root.json") for path in body.files):
        asker.require(Permission.SERVER)
    accepted = context.image.push(body.files, asker.name)
    return Pushed(listed=len(accepted.listed), roots=[f"{name}/{version}" for name, version in sorted(accepted.roots)])
