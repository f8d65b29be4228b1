"""Which versions may be rolled out: signed ones. What waits for a signature, what was yanked, and what helps."""

from dataclasses import replace
from enum import StrEnum

from sqlalchemy import Connection

from edge_agent.contract.artifacts import parse_parcel
from edge_agent.contract.manifest import MANIFEST_NAME
from fleet_server.core.releases import Bundle
from fleet_server.store import groups, models, releases
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.errors import ConflictError


class ReleaseState(StrEnum):
    """How a version stands with the release keys."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    YANKED = "yanked"


def state_of(connection: Connection, model: str, version: int) -> ReleaseState:
    """Return how a version stands: signed where any of its bundles is listed."""
    if releases.list_version(connection, model, version):
        return ReleaseState.SIGNED
    gone = (model, version) in releases.all_yanked(connection).values()
    return ReleaseState.YANKED if gone else ReleaseState.UNSIGNED


def check_rollable(connection: Connection, model: str, version: int, group: groups.Group) -> None:
    """Let a signed version pass, and an automatic one only to a group that accepts such.

    Raises:
        ConflictError: it may not be rolled out; the message names the command that helps.
    """
    match state_of(connection, model, version):
        case ReleaseState.UNSIGNED:
            raise ConflictError(
                f"version {version} of {model!r} is not signed by a release key: `edgeloop release fetch FOLDER`, "
                "`trainer sign FOLDER --keys KEYS` where the key is, `edgeloop release push FOLDER`"
            )
        case ReleaseState.YANKED:
            raise ConflictError(
                f"version {version} of {model!r} was yanked: choose another, `edgeloop release list` shows them"
            )
        case ReleaseState.SIGNED:
            pass
    if releases.is_auto(connection, model, version) and not group.accept_auto:
        raise ConflictError(
            f"version {version} of {model!r} was made by automatic retraining, and the group {group.name!r} does not "
            "accept such: make one that does, `edgeloop group create NAME QUERY --accept-auto`"
        )


def list_waiting(connection: Connection, artifacts: ArtifactFolder) -> tuple[Bundle, ...]:
    """Return the bundles that are registered, neither listed nor yanked."""
    listed, gone = releases.all_listed(connection), releases.all_yanked(connection)
    found = []
    for bundle in releases.built_bundles(connection):
        if bundle.target in listed or bundle.target in gone:
            continue
        parcel = models.find_any_parcel(connection, bundle.digest)
        if parcel is not None:
            files = parse_parcel(artifacts.read(parcel.digest)).files
            length = next(file.size for file in files if file.name == MANIFEST_NAME)
            found.append(replace(bundle, length=length))
    return tuple(found)
