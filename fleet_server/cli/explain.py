"""`edgeloop rollout explain`: a rollout's evidence as numbers and one sentence; and reading a policy from a file."""

import json
import tomllib
from pathlib import Path
from typing import Any

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, field, print_fields, print_json, print_table, show_time

_METRICS = (
    Column("METRIC", field("metric")),
    Column("CANARY", lambda row: _number(row.get("canary_mean")), "number"),
    Column("STABLE", lambda row: _number(row.get("stable_mean")), "number"),
    Column("DIFFERENCE", lambda row: _number(row.get("difference")), "number"),
    Column("LIMIT", lambda row: _number(row.get("limit")), "number"),
    Column("DEVICES", lambda row: f"{row.get('canary_devices')}/{row.get('stable_devices')}", "number"),
    Column("ACTS", lambda row: "dry run" if row.get("dry_run") else "rolls back"),
    Column("WORSE", lambda row: "yes" if row.get("worse") else "no"),
)


def explain(rollout: str, /, *, output: Output = "table") -> None:
    """Say why a rollout stands where it does: both arms, each metric against stable devices, the tests, one sentence.

    Parameters
    ----------
    rollout
        The rollout's id.
    """
    with connect() as client:
        found = client.get(f"/rollouts/{rollout}/explain")
    if output == "json":
        print_json(found)
        return
    print_fields(_facts(found))
    print_table(found["metrics"], _METRICS, title="metrics: mean changes since before")


def read_policy(path: str) -> dict[str, Any]:
    """Return the policy that a TOML or JSON file holds; the server checks its keys and values.

    Raises:
        CommandError: the file cannot be read, or is neither.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        found = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise CommandError(f"{path} cannot be read", str(error.strerror), "ls " + path, Exit.USAGE) from error
    except ValueError as error:
        what = f"{path} is no {'TOML' if file.suffix == '.toml' else 'JSON'}"
        raise CommandError(what, str(error), "edgeloop rollout start --help", Exit.USAGE) from error
    if not isinstance(found, dict):
        raise CommandError(f"{path} holds no policy", "an object of keys is expected", "", Exit.USAGE)
    return found


def _facts(found: dict[str, Any]) -> list[tuple[str, Any]]:
    canary, stable, test = found["canary"], found["stable"], found["promotion"]
    facts = [
        ("rollout", found["id"]),
        ("evidence", found["sentence"]),
        ("waits for", found["waits_for"]),
        ("held back", found["held_back"] or None),
        ("look", found["look"]),
        ("next look", show_time(found["next_look_at"])),
        ("canary", f"{canary['devices']} devices, {canary['bad']} went bad"),
        ("stable", f"{stable['devices']} devices, {stable['bad']} went bad"),
        ("e-value", f"{found['e_value']:.3g}, rolls back at {found['e_limit']:.3g}"),
    ]
    if test is not None:
        bounds = f"promotes at {test['promote_below']:.2f}, is bad at {test['reject_above']:.2f}"
        decides = "" if test["decides"] else "; it does not decide here"
        ratio = f"log ratio {test['log_ratio']:.2f} ({bounds}){decides}"
        facts.append(("promotion", f"{test['state']}: {test['bad']} bad of {test['devices']} devices, {ratio}"))
    return facts


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"
