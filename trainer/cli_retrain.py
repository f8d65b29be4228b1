"""The command `trainer retrain`: a recipe fitted anew on fresh rows, and judged against the version that runs.

House rules: as `trainer.cli`; the work is in `trainer.retraining`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edge_agent.contract.retraining import GateTerms
from trainer.cli_options import Flag, Releases, told
from trainer.cli_output import now, print_json
from trainer.errors import EXIT_DONE, EXIT_FAILED, UsageError


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class RetrainGate:
    """What a retrained model must win by, in points of accuracy or percent of the running model's mean error."""

    margin: Annotated[float, told("Points that it must win by on the newest fresh rows.")] = 1.0
    tolerance: Annotated[float, told("Points that it may lose on the back-test.")] = 1.0
    confidence: Annotated[float, told("How sure it must be, in percent, that it is better at all.")] = 95.0
    newest: Annotated[float, told("The percentage of the fresh rows, the newest ones, that are held out.")] = 30.0

    def terms(self) -> GateTerms:
        """Return the terms.

        Raises:
            UsageError: one is out of range.
        """
        try:
            return GateTerms(self.margin / 100, self.tolerance / 100, self.confidence / 100, self.newest / 100)
        except ValueError as error:
            raise UsageError(str(error)) from error


def read_pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        UsageError: one is not of that form.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{text[:40]!r} is not of the form KEY=VALUE")
        pairs[key] = value
    return pairs


AS_GATED = RetrainGate()


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Rows:
    """What it is fitted on and judged by."""

    fresh: Annotated[
        Path,
        told(
            "Labelled rows from the field, the oldest first: .csv with the recipe's columns and its target column "
            "(`target` where the recipe's data have no name for it), or .npz."
        ),
    ]
    against: Annotated[Path, told("The running version: its folder, or the folder of one bundle of it.")]
    data: Annotated[Path | None, told("Instead of the recipe's data.csv.")] = None
    drop: Annotated[tuple[str, ...], told("A column of the fresh rows that is no feature; repeatable.")] = ()
    lineage: Annotated[tuple[str, ...], told("KEY=VALUE for the model card; repeatable.")] = ()


def retrain(
    recipe: str,
    *,
    rows: Rows,
    gate: RetrainGate = AS_GATED,
    out: Path | None = None,
    seed: int | None = None,
    prove_on: Releases = None,
    changes: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    force: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Fit a recipe on its data and fresh rows, and build a version where it beats the running one; else it ends with 1.

    The newest fresh rows are held out, and so is the recipe's own share of its data: by both the running version's
    bundle and the new model are judged, row by row. The folder gets verdict.json, and version/ where it won.

    Args:
        recipe: As for `trainer fit`; classification or regression.
        rows: What it is fitted on and judged by.
        gate: What it must win by.
        out: The folder to write; by default build/RECIPE-retrained.
        seed: As for `trainer fit`.
        prove_on: As for `trainer fit`.
        changes: As for `trainer fit`.
        force: Replace what a former run left in the folder.
        json: Print the verdict as one JSON object.
    """
    from edge_agent.contract.codec import to_plain
    from trainer.pipeline import Order
    from trainer.report import print_verdict, stages
    from trainer.retraining import RetrainRequest, retrain_version
    from trainer.stages.environments import choose_releases
    from trainer.stages.recipes import load_recipe

    given = () if rows.data is None else (f"data.csv={rows.data.resolve()}",)
    found = load_recipe(recipe, (*given, *changes))
    request = RetrainRequest(found, rows.fresh, rows.against, gate.terms(), read_pairs(rows.lineage), rows.drop)
    place, created = out or Path("build") / f"{found.name}-retrained", now().isoformat(timespec="seconds")
    with stages() as tell:
        made = retrain_version(request, Order(place, created, force, choose_releases(prove_on)), tell, seed)
    if json:
        print_json({"folder": str(place), **to_plain(made.verdict)})
    else:
        print_verdict(made.verdict, place)
    return EXIT_DONE if made.verdict.won else EXIT_FAILED
