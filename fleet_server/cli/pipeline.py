"""`edgeloop model pipeline`: how a model is made anew, by which terms, and whether by itself."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Output, print_fields, print_json, say, show_time

app = App(name="pipeline", help="How a model is made anew: a recipe, rows, and terms.")
_HELP = "edgeloop model pipeline set --help"


@Parameter(name="*")
@dataclass(frozen=True)
class Terms:
    """What a retrained version must win by, and what may happen by itself."""

    automatic: Annotated[
        bool, Parameter(negative="", help="Accept proposals without a person; by default one accepts each.")
    ] = False
    margin: Annotated[float, Parameter(help="Points that it must win by on the newest fresh rows.")] = 1.0
    tolerance: Annotated[float, Parameter(help="Points that it may lose on the back-test.")] = 1.0
    confidence: Annotated[float, Parameter(help="How sure it must be that it is better at all, in percent.")] = 95.0
    newest: Annotated[float, Parameter(help="The percentage of fresh rows, the newest, that are held out.")] = 30.0
    min_fresh_rows: Annotated[int, Parameter(help="Labelled rows that a training waits for.")] = 2000
    max_fresh_rows: Annotated[int, Parameter(help="The most that it takes, the newest.")] = 100_000
    cool_down_s: Annotated[float, Parameter(help="Seconds after a proposal's end in which no other opens.")] = 604_800.0
    deadline_s: Annotated[float, Parameter(help="Seconds from acceptance to the start of the rollout.")] = 604_800.0
    training_s: Annotated[float, Parameter(help="Seconds that the training may take.")] = 1800.0

    def options(self) -> dict[str, Any]:
        """Return them as the server takes them: shares instead of points and percentages."""
        shares = {name: getattr(self, name) / 100 for name in ("margin", "tolerance", "confidence", "newest")}
        plain = ("automatic", "min_fresh_rows", "max_fresh_rows", "cool_down_s", "deadline_s", "training_s")
        return {**shares, **{name: getattr(self, name) for name in plain}}


_TERMS = Terms()


@app.command(name="set")
def set_pipeline(
    model: str,
    /,
    *,
    recipe: Path,
    group: str,
    data: Path | None = None,
    policy: Path | None = None,
    terms: Terms = _TERMS,
    output: Output = "table",
) -> None:
    """Register how a model is made anew, in the place of what was registered before.

    Parameters
    ----------
    model
        The model's name, which the recipe has too.
    recipe
        A TOML recipe, as `trainer fit` takes it.
    group
        The group to roll out to; it accepts automatic versions.
    data
        The rows that the recipe's data.csv names; they stay part of every training.
    policy
        The rollout's policy, a TOML or JSON file; a cautious one where it is left out.
    """
    options = {"group": group, **terms.options()}
    if policy is not None:
        options["policy"] = _read_policy(policy)
    parts = [("recipe", recipe), *([] if data is None else [("data", data)])]
    for _, path in parts:
        if not path.is_file():
            raise CommandError(f"{path} is not a file", "", _HELP, Exit.USAGE)
    files = [(field, path.name, path) for field, path in parts]
    with connect() as client:
        made = client.put(f"/models/{model}/pipeline", files, {"options": json.dumps(options)})
    _print(made, output)
    if output != "json":
        say(f"Next: have devices send labelled rows (feedback), then edgeloop proposal list --model {model}")


@app.command
def show(model: str, /, *, output: Output = "table") -> None:
    """Show how a model is made anew.

    Parameters
    ----------
    model
        The model's name.
    """
    with connect() as client:
        _print(client.get(f"/models/{model}/pipeline"), output)


@app.command
def remove(model: str, /) -> None:
    """Take a model's pipeline away; a proposal that is open goes on.

    Parameters
    ----------
    model
        The model's name.
    """
    with connect() as client:
        client.delete(f"/models/{model}/pipeline")
    say(f"{model} is made anew by nobody's rule any more.")


def _read_policy(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} holds no policy", str(error), _HELP, Exit.USAGE) from error


def _print(found: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json(found)
        return
    rows = [(name, found[name]) for name in ("model", "recipe", "digest", "recipe_sha256", "data_sha256", "author")]
    print_fields([*rows, ("created", show_time(found["created"])), *found["options"].items()])
