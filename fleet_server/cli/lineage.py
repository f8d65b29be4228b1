"""`edgeloop model lineage`: where a version came from, what was decided of it, and which devices run it."""

from fleet_server.cli.client import connect
from fleet_server.cli.output import Column, Output, field, print_fields, print_json, print_table, show_time

_BUNDLES = (Column("VARIANT", field("variant")), Column("BUNDLE", field("digest")), Column("RUNS ON", field("devices")))
_DECISIONS = (
    Column("AT", lambda row: show_time(row.get("at"))),
    Column("DECIDED", field("kind")),
    Column("VERSION", field("version"), "number"),
    Column("BY", field("author")),
    Column("REASON", field("reason")),
)


def lineage(model: str, version: int, /, *, output: Output = "table") -> None:
    """Show a version's lineage: from the fingerprint of its rows to the devices that run it.

    Parameters
    ----------
    model
        The model's name.
    version
        The number of the version.
    """
    with connect() as client:
        found = client.get(f"/models/{model}/versions/{version}/lineage")
    if output == "json":
        print_json(found)
        return
    data, proposal = found["data"], found["proposal"] or {}
    print_fields(
        [
            ("version", f"{found['model']}@{found['version']}"),
            ("created", show_time(found["created"])),
            ("rows", f"{data['name']}: {data['rows']}, SHA-256 {data['sha256']}"),
            *((name.replace("_", " "), value) for name, value in found["made"].items()),
            ("metrics", found["metrics"]),
            ("release", f"{found['release']}{', automatic' if found['automatic'] else ''}"),
            ("because", proposal.get("sentence")),
            ("verdict", (proposal.get("verdict") or {}).get("reason")),
        ]
    )
    print_table(found["bundles"], _BUNDLES)
    print_table(found["decisions"], _DECISIONS)
