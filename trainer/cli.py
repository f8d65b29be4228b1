"""The command `trainer`: fit, retrain, compile, verify or report a version, list recipes, sign releases.

House rules: parses arguments and prints; the work is in `trainer.pipeline`, imported when it is needed, so that help
is quick. Progress goes to stderr, results to stdout; exit codes are 0 done, 1 failed, 2 usage, 78 configuration.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from trainer.cli_keys import app as keys
from trainer.cli_options import AS_READ, AS_USUAL, Flag, Reading, Releases, Within
from trainer.cli_release import delegate, sign, yank
from trainer.cli_retrain import retrain
from trainer.cli_runtimes import app as runtimes
from trainer.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, TrainerError

app = App(
    name="trainer",
    help="From scikit-learn (or ONNX) to proven bundles for edge devices: fit, evaluate, compile, quantize, prove.",
    version_flags=["--version"],
)

for _more in (retrain, runtimes, keys, sign, yank, delegate):
    app.command(_more)


@app.command
def fit(
    recipe: str,
    *,
    out: Path | None = None,
    seed: int | None = None,
    prove_on: Releases = None,
    changes: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    force: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Fit a recipe's model, judge it by its gates, build and prove its variants.

    Args:
        recipe: A recipe that ships with the trainer (see `trainer recipes`), or a .toml or .py file.
        out: The version folder to write; by default build/RECIPE.
        seed: Instead of the recipe's split.seed; every chance in the fit follows from it.
        prove_on: A release of a runtime to prove every variant on too, such as onnxruntime==1.20.1; repeatable. By
            default all that `trainer runtimes add` made here; "none" for none.
        changes: Lay key=value over the recipe, such as split.share=0.3 or steps.0.params.max_iter=20; repeatable.
        force: Replace a version folder that is there already.
        json: Print the result as one JSON object.
    """
    from trainer.pipeline import Order, fit_version
    from trainer.report import stages
    from trainer.stages.environments import choose_releases
    from trainer.stages.recipes import load_recipe

    found = load_recipe(recipe, changes)
    with stages() as tell:
        order = Order(out or Path("build") / found.name, _now(), force, choose_releases(prove_on))
        built = fit_version(found, order, tell, seed)
    return _print_built(built, json=json)


@app.command(name="compile")
def compile_(
    model: Path,
    *,
    data: Path,
    name: str | None = None,
    reading: Reading = AS_READ,
    within: Within = AS_USUAL,
    prove_on: Releases = None,
    out: Path | None = None,
    force: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Build and prove the variants of a model that was fitted elsewhere.

    Args:
        model: A .skops or .onnx file; with --allow-pickle also .joblib.
        data: Rows to judge it by that it was not fitted on: .csv with a header, or .npz with x, y and names.
        name: The line of models that this is a version of; by default the file's name.
        reading: What the files do not say of themselves.
        within: What smaller variants may lose, and what is wanted of them.
        prove_on: As for `trainer fit`.
        out: The version folder to write; by default build/NAME.
        force: Replace a version folder that is there already.
        json: Print the result as one JSON object.
    """
    from trainer.pipeline import Order, compile_version
    from trainer.report import stages
    from trainer.stages.environments import choose_releases
    from trainer.stages.requests import CompileRequest

    request = CompileRequest.of(model, data, name or model.stem, {**asdict(reading), **asdict(within)})
    order = Order(out or Path("build") / request.name, _now(), force, choose_releases(prove_on))
    with stages() as tell:
        built = compile_version(request, order, tell)
    return _print_built(built, json=json)


@app.command
def verify(folder: Path, *, json: Annotated[bool, Flag] = False) -> int:
    """Prove every variant of a version folder again: digests, and golden vectors on the runtimes here.

    Args:
        folder: A version folder.
        json: Print the result as one JSON object.
    """
    from edge_agent.contract.codec import to_plain
    from trainer.report import print_verdicts, stages
    from trainer.stages.verify import read_record, verify_variant

    record = read_record(folder)
    verdicts = []
    with stages() as tell:
        built = [entry for entry in record.variants if entry.digest is not None]
        for index, entry in enumerate(built):
            tell("variant", entry.variant, index / len(built))
            verdicts.append(verify_variant(folder, record, entry))
    passed = bool(verdicts) and all(item.problem is None for item in verdicts)
    if json:
        _print_json({"folder": str(folder), "passed": passed, "variants": to_plain(verdicts)})
    else:
        print_verdicts(verdicts)
    return EXIT_DONE if passed else EXIT_FAILED


@app.command
def report(folder: Path, *, out: Path | None = None) -> int:
    """Write the report of a version folder anew, and print where it is: one page that opens without a network.

    Args:
        folder: A version folder.
        out: The file to write; by default report.html in the folder.
    """
    from trainer.stages.page import PAGE_NAME, read_manifests, write_page
    from trainer.stages.verify import read_record

    record, path = read_record(folder), out or folder / PAGE_NAME
    write_page(path, record, read_manifests(folder, record))
    sys.stdout.write(f"{path}\n")
    return EXIT_DONE


@app.command
def recipes(*, json: Annotated[bool, Flag] = False) -> int:
    """List the recipes that ship with the trainer.

    Args:
        json: Print the result as one JSON object.
    """
    from trainer.report import print_recipes
    from trainer.stages.recipes import load_recipe, shipped_names

    rows = []
    for name in shipped_names():
        declaration = load_recipe(name).declaration
        rows.append((name, declaration.model, declaration.task.value, declaration.description))
    if json:
        keys = ("recipe", "model", "task", "description")
        _print_json({"items": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        print_recipes(rows)
    return EXIT_DONE


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _print_built(built: Any, *, json: bool) -> int:
    from edge_agent.contract.codec import to_plain
    from trainer.report import print_built

    if json:
        _print_json(
            {
                "folder": str(built.folder),
                "version": to_plain(built.record),
                "manifests": to_plain(built.manifests),
                "warnings": list(built.warnings),
            }
        )
    else:
        print_built(built)
    return EXIT_DONE


def _print_json(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code. With --json an error is also one JSON object on stdout."""
    # Before any import of onnxruntime, or a thread of it begins to send telemetry.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Matrices of this size gain nothing by more threads, and lose four- to eightfold on a machine that is busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return EXIT_USAGE
    except TrainerError as error:
        from trainer.report import print_error

        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            _print_json({"error": str(error), "hint": error.hint})
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else EXIT_DONE
