"""Devices."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from edge_agent.contract import codec
from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import Reader, needs
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.services.devices import DeviceView

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])
Keeper = Annotated[Principal, needs(Permission.DEVICES)]
Approver = Annotated[Principal, needs(Permission.APPROVE)]


class BundleShown(Answer):
    """A bundle that a device should run, or runs."""

    model: str
    version: int
    variant: str
    digest: str
    attested: bool | None = None


class DeviceShown(Answer):
    """A device: what it is, should run, says that it runs, and how it fares."""

    id: str
    profile: str
    simulated: bool
    labels: dict[str, str]
    presence: str
    last_seen: Time | None
    enrolled: Time
    standing: str
    standing_at: Time | None
    standing_reason: str
    capabilities: dict[str, Any]
    desired: list[BundleShown]
    desired_seq: int
    reported_seq: int
    running: list[BundleShown]
    progress: dict[str, Any] | None
    outcome: dict[str, Any] | None
    in_sync: bool
    health: dict[str, dict[str, Any]]


class Quarantine(Body):
    """Why a device is put in quarantine."""

    reason: Annotated[str, Field(max_length=200)] = ""


class LabelChanges(Body):
    """Labels to set; null takes one away."""

    labels: dict[str, str | None]


def show(view: DeviceView) -> DeviceShown:
    """Return a device as it is shown; `reported_seq` is the desired document that its report speaks of."""
    device, reported = view.device, view.reported
    desired = view.desired.read_body().bundles if view.desired is not None else ()
    running = reported.running if reported is not None else ()
    return DeviceShown(
        id=device.id,
        profile=device.profile,
        simulated=device.simulated,
        labels=dict(device.labels),
        presence=device.presence,
        last_seen=device.last_seen,  # type: ignore[arg-type] # the validator of Time takes milliseconds
        enrolled=device.enrolled,  # type: ignore[arg-type] # as above
        standing=device.standing,
        standing_at=device.standing_at or None,  # type: ignore[arg-type] # as above
        standing_reason=device.standing_reason,
        capabilities=dict(device.capabilities),
        desired=[BundleShown.model_validate(item) for item in desired],
        desired_seq=view.desired.seq if view.desired is not None else 0,
        reported_seq=reported.desired_seq if reported is not None else 0,
        running=[BundleShown.model_validate(item) for item in running],
        progress=codec.to_plain(reported.progress) if reported is not None and reported.progress else None,
        outcome=codec.to_plain(reported.outcome) if reported is not None and reported.outcome else None,
        in_sync=view.in_sync,
        health={item.model: dict(item.body) for item in view.health},
    )


@router.get("", response_model_exclude_none=False)
def list_devices(
    context: Context,
    paging: Paging,
    _asker: Reader,
    group: Annotated[str | None, Query(max_length=64)] = None,
    q: Annotated[str, Query(max_length=100)] = "",
) -> ListOf[DeviceShown]:
    """List devices by id: all, a group's, those whose id or profile contains `q`."""
    page = context.devices.list_devices(paging, group, q)
    return ListOf(items=[show(view) for view in page.items], next=page.next)


@router.get("/{device}")
def show_device(device: str, context: Context, _asker: Reader) -> DeviceShown:
    """Show a device."""
    return show(context.devices.show(device))


@router.patch("/{device}")
def label_device(device: str, body: LabelChanges, context: Context, asker: Keeper) -> DeviceShown:
    """Set labels of a device, or take them away."""
    context.devices.label(device, body.labels, asker.name)
    return show(context.devices.show(device))


@router.delete("/{device}", status_code=204)
def remove_device(device: str, context: Context, asker: Keeper) -> None:
    """Remove a device and revoke its credentials."""
    context.identities.remove(device, asker.name)


@router.post("/{device}/approve")
def approve_device(device: str, context: Context, asker: Approver) -> DeviceShown:
    """Let a device in that waits for it."""
    context.identities.approve(device, asker.name)
    return show(context.devices.show(device))


@router.post("/{device}/quarantine")
def quarantine_device(device: str, body: Quarantine, context: Context, asker: Keeper) -> DeviceShown:
    """Have a device take no part: mute at the broker, its reports no evidence, in no rollout."""
    context.identities.quarantine(device, asker.name, body.reason)
    return show(context.devices.show(device))


@router.post("/{device}/release")
def release_device(device: str, context: Context, asker: Approver) -> DeviceShown:
    """Let a quarantined device in again that was enrolled anew with other keys."""
    context.identities.release(device, asker.name)
    return show(context.devices.show(device))


@router.post("/{device}/revoke")
def revoke_device(device: str, context: Context, asker: Keeper) -> DeviceShown:
    """Revoke a device's keys and certificates; it may be enrolled anew with others."""
    context.identities.revoke(device, asker.name)
    return show(context.devices.show(device))
