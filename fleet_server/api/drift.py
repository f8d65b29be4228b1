"""Drift, what it is judged by, and windows merged by the hour."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from edge_agent.contract import codec
from fleet_server.api.answers import Answer, Body, Time
from fleet_server.api.askers import Reader, needs
from fleet_server.api.context import Context
from fleet_server.api.telemetry import Name, Since, VersionNumber, read_since
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.store.drift import DeviceDrift, ScopeDrift

router = APIRouter(prefix="/api/v1", tags=["telemetry"])
ModelName = Annotated[str, Query(max_length=64)]


class FeatureShown(Answer):
    """What is said of one column: how far its newest windows are from training, and whether it drifted."""

    feature: str
    psi: float
    p_value: float
    shift_sigma: float
    missing_ratio: float
    outside_ratio: float
    drifted: bool
    explanation: str


class DeviceShown(Answer):
    """A device by itself, against its own past."""

    device: str
    state: str
    since: Time
    rows: int
    windows: int
    learnt: int
    sentence: str


class TruthShown(Answer):
    """What labels that came back say of the answers."""

    state: str
    since: Time
    sentence: str
    evidence: dict[str, Any]


class DriftShown(Answer):
    """Drift of a version in a group: the verdict in one sentence, since when, on which evidence."""

    model: str
    version: int
    group: str | None
    state: str
    since: Time
    sentence: str
    evidence: dict[str, Any]
    truth: TruthShown | None = None
    rows: int
    windows: int
    features: list[FeatureShown]
    output: FeatureShown | None = None
    devices: list[DeviceShown]


class HourShown(Answer):
    """One hour of a device, a group or all devices, merged."""

    hour: Time
    devices: int
    windows: int
    counts: dict[str, Any]


class HoursShown(Answer):
    """The hours of a version, oldest first."""

    model: str
    version: int
    hours: list[HourShown]


class DriftPolicyShown(Answer):
    """What a model's drift is judged by."""

    learning_windows: int
    min_rows: int
    confirm: int
    of: int
    alpha: float
    scope_alpha: float
    psi_floor: float
    rare_floor: float
    group_effect_sigma: float
    group_effect_share: float
    offset_sigma: float
    device_share: float
    accuracy_margin: float
    accuracy_alpha: float
    look_s: int


class DriftPolicySet(Body):
    """What a model's drift is judged by; a field that is left out is the default."""

    learning_windows: int | None = None
    min_rows: int | None = None
    confirm: int | None = None
    of: int | None = None
    alpha: float | None = None
    scope_alpha: float | None = None
    psi_floor: float | None = None
    rare_floor: float | None = None
    group_effect_sigma: float | None = None
    group_effect_share: float | None = None
    offset_sigma: float | None = None
    device_share: float | None = None
    accuracy_margin: float | None = None
    accuracy_alpha: float | None = None
    look_s: int | None = None


@router.get("/drift")
def show_drift(
    context: Context,
    _asker: Reader,
    model: ModelName,
    version: VersionNumber = None,
    group: Name = None,
    state: Annotated[str | None, Query(max_length=16, description="only devices in this state")] = None,
) -> DriftShown:
    """Say whether a version's inputs, outputs and accuracy drifted in a group, or in the whole fleet."""
    found = context.drift.assess(model, version, group)
    devices = [item for item in found.devices if state is None or item.state == state]
    return DriftShown.model_validate(
        {
            "model": found.model,
            "version": found.version,
            "group": found.group,
            "state": str(found.data.state),
            "since": found.data.since,
            "sentence": found.data.sentence,
            "evidence": dict(found.data.evidence),
            "truth": None if found.truth is None else _truth(found.truth),
            "rows": found.rows,
            "windows": found.windows,
            "features": [codec.to_plain(item) for item in found.features],
            "output": None if found.output is None else codec.to_plain(found.output),
            "devices": [_device(item) for item in devices],
        }
    )


def _truth(found: ScopeDrift) -> dict[str, Any]:
    head = {"state": str(found.state), "since": found.since}
    return head | {"sentence": found.sentence, "evidence": dict(found.evidence)}


def _device(found: DeviceDrift) -> dict[str, Any]:
    names = ("device", "since", "rows", "windows", "learnt", "sentence")
    return {name: getattr(found, name) for name in names} | {"state": str(found.state)}


@router.get("/windows/hours")
def list_hours(
    context: Context,
    _asker: Reader,
    model: ModelName,
    version: VersionNumber = None,
    group: Name = None,
    device: Name = None,
    since: Since = None,
) -> HoursShown:
    """Show windows merged by the hour, of a device, a group or all; a day back, or since a time within a week."""
    found, hours = context.drift.hours(model, version, group, device, read_since(since))
    shown = [
        {
            "hour": item.hour,
            "devices": item.devices,
            "windows": item.windows,
            "counts": codec.to_plain(item.counts),
        }
        for item in hours
    ]
    return HoursShown.model_validate({"model": model, "version": found, "hours": shown})


@router.get("/models/{model}/drift-policy")
def show_drift_policy(model: str, context: Context, _asker: Reader) -> DriftPolicyShown:
    """Show what a model's drift is judged by."""
    return DriftPolicyShown.model_validate(context.drift.policy(model))


@router.put("/models/{model}/drift-policy")
def set_drift_policy(
    model: str,
    body: DriftPolicySet,
    context: Context,
    asker: Annotated[Principal, needs(Permission.PUBLISH)],
) -> DriftPolicyShown:
    """Set what a model's drift is judged by; a field that is left out is the default."""
    document = body.model_dump(exclude_none=True)
    return DriftPolicyShown.model_validate(context.drift.set_policy(model, document, asker.name))
