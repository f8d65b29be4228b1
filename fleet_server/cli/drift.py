"""`edgeloop drift`: how the inputs and outputs of a model's version moved away from its training data."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, bar, field, print_fields, print_json, print_table, say

SHOWN = 20
# A PSI of 0.25 is by custom a major shift (Siddiqi, Credit Risk Scorecards, 2006); it fills the bar.
FULL_BAR_PSI = 0.25

_FEATURES = (
    Column("FEATURE", field("feature")),
    Column("PSI", field("psi"), "number"),
    Column("", lambda row: bar((row.get("psi") or 0.0) / FULL_BAR_PSI, 12)),
    Column("P VALUE", field("p_value"), "number"),
    Column("SHIFT σ", field("shift_sigma"), "number"),
    Column("DRIFTED", field("drifted")),
    Column("EXPLANATION", field("explanation")),
)


def drift(
    model: str,
    /,
    *,
    version: int | None = None,
    group: str | None = None,
    every: bool = False,
    devices: str | None = None,
    output: Output = "table",
) -> None:
    """Show whether a version drifted in one sentence, and its features against training, the most moved first.

    Parameters
    ----------
    model
        The model's name.
    version
        One version; the server takes the newest that has windows where it is left out.
    group
        Only the devices of one group.
    every
        All features, not only the first.
    devices
        List the devices in this state by themselves: learning, ok, watch, drift, recovered.
    """
    with connect() as client:
        found = client.get("/drift", model=model, version=version, group=group, state=devices)
    if output == "json":
        print_json(found)
        return
    if devices is not None:
        print_table(found["devices"], _DEVICES)
        return
    _print(found, every=every)


_DEVICES = (
    Column("DEVICE", field("device")),
    Column("STATE", field("state")),
    Column("SINCE", field("since")),
    Column("WINDOWS", field("windows"), "number"),
    Column("ROWS", field("rows"), "number"),
    Column("HOW", field("sentence")),
)


def _truth(truth: dict[str, Any] | None) -> str:
    return "no labels came back" if not truth else f"{truth.get('state')}: {truth.get('sentence')}"


def _count_states(devices: Iterable[dict[str, Any]]) -> str:
    counts = Counter(str(item.get("state")) for item in devices)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"


def drift_policy(model: str, /, *fields: str, output: Output = "table") -> None:
    """Show what a model's drift is judged by, or set it.

    Parameters
    ----------
    model
        The model's name.
    fields
        Fields to set, as psi_floor=0.2; those that are left out become the default. Without any, show the policy.
    """
    with connect() as client:
        path = f"/models/{model}/drift-policy"
        found = client.replace(path, dict(map(_field, fields))) if fields else client.get(path)
    if output == "json":
        print_json(found)
    else:
        print_fields(sorted(found.items()))


def _field(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        equals = ""
    if not equals:
        raise CommandError(
            f"{text!r} is no field of a policy", "a field is name=number", "edgeloop drift-policy --help", Exit.USAGE
        )
    return name, int(number) if number.is_integer() else number


def _print(found: dict[str, Any], *, every: bool) -> None:
    features = sorted(found.get("features", ()), key=lambda row: -(row.get("psi") or 0.0))
    moved = found.get("output") or {}
    print_fields(
        [
            ("state", f"{found.get('state')}, since {found.get('since')}"),
            ("verdict", found.get("sentence")),
            ("accuracy", _truth(found.get("truth"))),
            ("rows", found.get("rows")),
            ("windows", found.get("windows")),
            ("drifted features", f"{sum(bool(row.get('drifted')) for row in features)} of {len(features)}"),
            ("output", moved.get("explanation") or moved),
            ("devices", _count_states(found.get("devices", ()))),
        ]
    )
    if not features:
        say("No windows yet: a device closes one after an hour or 10,000 rows, unless its settings say otherwise.")
        return
    print_table(features if every else features[:SHOWN], _FEATURES)
    if not every and len(features) > SHOWN:
        say(f"{len(features) - SHOWN} more features: --every")
