"""`edgeloop drift`: how the inputs and outputs of a model's version moved away from its training data."""

from typing import Any

from fleet_server.cli.client import connect
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
    output: Output = "table",
) -> None:
    """Show drift by feature, the most moved first.

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
    """
    with connect() as client:
        found = client.get("/drift", model=model, version=version, group=group)
    if output == "json":
        print_json(found)
        return
    _print(found, every=every)


def _print(found: dict[str, Any], *, every: bool) -> None:
    features = sorted(found.get("features", ()), key=lambda row: -(row.get("psi") or 0.0))
    moved = found.get("output") or {}
    print_fields(
        [
            ("state", found.get("state")),
            ("rows", found.get("rows")),
            ("windows", found.get("windows")),
            ("drifted features", f"{sum(bool(row.get('drifted')) for row in features)} of {len(features)}"),
            ("output", moved.get("explanation") or moved),
            ("devices", [item if isinstance(item, str) else item.get("device") for item in found.get("devices", ())]),
        ]
    )
    if not features:
        say("No windows yet: a device closes one after an hour or 10,000 rows, unless its settings say otherwise.")
        return
    print_table(features if every else features[:SHOWN], _FEATURES)
    if not every and len(features) > SHOWN:
        say(f"{len(features) - SHOWN} more features: --every")
