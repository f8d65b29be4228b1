"""Writes what the documentation says of the code, from the code: `python scripts/reference.py`.

Payload tables, the update machine's diagram, the list of denied releases and the JSON Schema of health are made here
and never by hand; a test fails when a file differs from what this module would write. Between `<!-- made: NAME -->`
and `<!-- end -->` of a Markdown file stands the text that the maker of that name returns.
"""

import dataclasses
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from edge_agent.contract import (  # noqa: E402 - the root comes first
    artifacts,
    enrolment,
    feedback,
    manifest,
    messages,
    runtimes,
    states,
    trust,
    windows,
)
from edge_agent.core import update_machine  # noqa: E402 - as above
from fleet_server.core import permissions, proposal_machine  # noqa: E402 - as above

MESSAGES: tuple[type, ...] = (
    messages.Status,
    messages.Reported,
    messages.TrustHeld,
    messages.Capabilities,
    messages.Running,
    messages.Progress,
    messages.Outcome,
    messages.Proof,
    messages.Desired,
    messages.DesiredBundle,
    messages.Soak,
    messages.AgentSettings,
    trust.DirectorNote,
    trust.OrderNote,
    trust.ReleaseNote,
    messages.Event,
    messages.Health,
    windows.Window,
    windows.WindowCounts,
    windows.FeatureCounts,
    windows.Feedback,
    feedback.FeedbackRows,
    feedback.LabelledRow,
    messages.Get,
    messages.ServerStatus,
    enrolment.EnrolRequest,
    enrolment.Enrolment,
    artifacts.Parcel,
    artifacts.PackedFile,
    manifest.Manifest,
)


def type_text(kind: Any) -> str:
    """A field's type in JSON's words."""
    if kind is Any:
        return "label, number or array of number"
    if isinstance(kind, type):
        if dataclasses.is_dataclass(kind):
            return f"[{kind.__name__}](#{kind.__name__.lower()})" if kind in MESSAGES else kind.__name__
        if issubclass(kind, StrEnum):
            return f"one of {', '.join(f'`{item}`' for item in kind)}"
        return {str: "string", int: "integer", float: "number", bool: "boolean"}[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return type_text(next(arg for arg in args if arg is not types.NoneType))
    if origin is tuple:
        return f"array of {type_text(args[0])}"
    return "object" if args[1] is Any else f"object of {type_text(args[1])}"


def default_text(field: "dataclasses.Field[Any]") -> str:
    """A field's default, empty where it is required."""
    if field.default_factory is not dataclasses.MISSING:
        return "`{}`"
    if field.default is dataclasses.MISSING:
        return ""
    if field.default is None:
        return "absent"
    if dataclasses.is_dataclass(field.default):
        return "its defaults"
    return "`" + (json.dumps(field.default) if field.default != () else "[]") + "`"


def payload_tables() -> str:
    """One table for each message."""
    parts = []
    for cls in MESSAGES:
        hints = get_type_hints(cls)
        rows = [
            f"| `{item.name}` | {type_text(hints[item.name])} | {default_text(item)} |"
            for item in dataclasses.fields(cls)
        ]
        about = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        parts.append(
            "\n".join([f"### {cls.__name__}", "", about, "", "| Field | Type | Default |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts)


def reasons() -> str:
    """The reasons of an outcome, refusals apart."""
    refused = ", ".join(f"`{reason}`" for reason in states.Reason if reason in states.REFUSALS)
    rest = [reason for reason in states.Reason if reason not in states.REFUSALS and reason is not states.Reason.OK]
    failed = ", ".join(f"`{reason}`" for reason in rest)
    return f"Refused, nothing was tried: {refused}.\n\nFailed, it was tried: {failed}."


def machine() -> str:
    """The update machine as a diagram: its whole table of moves."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    lines += [f"    {start} --> {end}: {move}" for (start, move), end in update_machine.MOVES.items()]
    again = {True: "continues", False: f"is tried again, {update_machine.MAX_TRIALS} times in all"}
    owed = [
        f"| `{state}` | {effect} | {again[state in update_machine.RESUMABLE]} |"
        for state, effect in update_machine.OWED.items()
    ]
    return "\n".join([*lines, "```", "", "| State | owes | after a restart |", "|---|---|---|", *owed])


def proposals() -> str:
    """The machine of proposals as a diagram: its whole table of moves."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> proposed"]
    lines += [f"    {start} --> {end}: {move}" for (start, move), end in proposal_machine.MOVES.items()]
    return "\n".join([*lines, "```"])


def health_schema() -> str:
    """The JSON Schema (2020-12) of one health object."""
    names = {str: "string", int: "integer", float: "number"}
    hints: Mapping[str, type] = get_type_hints(messages.Health)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Health",
        "description": "What a device says of one model, every minute by default: one flat object, units in the keys.",
        "type": "object",
        "properties": {name: {"type": names[kind]} for name, kind in hints.items()},
        "required": list(hints),
    }
    return json.dumps(schema, indent=2) + "\n"


def denials() -> str:
    """The releases of runtimes that are denied, as their file says."""
    rows = ["| Runtime | Versions | What is denied | Where | Why | Known from |", "|---|---|---|---|---|---|"]
    for item in runtimes.parse_denials((ROOT / "firmware_configs" / runtimes.DENIALS_NAME).read_text()):
        where = ", ".join(item.machines) or "everywhere"
        if item.spared:
            where += f", not on {', '.join(item.spared)}"
        cells = (item.distribution, ", ".join(item.versions), item.feature or "all of it", where, item.why, item.source)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def roles() -> str:
    """Which role has which permission."""
    head = "| Permission | for | " + " | ".join(permissions.Role) + " |"
    rows = [head, "|---" * (2 + len(permissions.Role)) + "|"]
    for permission, meaning in permissions.MEANING.items():
        marks = ["yes" if permission in permissions.GRANTS[role] else "" for role in permissions.Role]
        rows.append(f"| `{permission}` | {meaning} | {' | '.join(marks)} |")
    return "\n".join(rows)


MAKERS: Mapping[str, Callable[[], str]] = {
    "payloads": payload_tables,
    "reasons": reasons,
    "machine": machine,
    "proposals": proposals,
    "denials": denials,
    "roles": roles,
}
MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written() -> dict[Path, str]:
    """Every file that this module has a say in, with its whole text as it should be."""
    found = {ROOT / "docs" / "schemas" / "health.json": health_schema()}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text()
        if MADE.search(text):
            found[path] = MADE.sub(lambda match: f"{match[1]}\n{MAKERS[match[2]]()}\n\n{match[3]}", text)
    return found


if __name__ == "__main__":
    for file, text in written().items():
        file.write_text(text)
