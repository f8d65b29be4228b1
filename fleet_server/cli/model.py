"""`edgeloop model`: models, their immutable versions, and the variants of each."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from fleet_server.cli.client import Fields, connect
from fleet_server.cli.failures import CommandError
from fleet_server.cli.lineage import lineage
from fleet_server.cli.operation import follow_operation
from fleet_server.cli.output import (
    Column,
    Output,
    Row,
    field,
    print_fields,
    print_json,
    print_rows,
    print_table,
    say,
    show_ratio,
    show_size,
    show_time,
)
from fleet_server.cli.pipeline import app as pipeline

app = App(name="model", help="Models, versions and their variants.")
app.command(pipeline)
app.command(lineage)

_RECORD = "version.json"
_MODELS = (
    Column("MODEL", field("name")),
    Column("LATEST", field("latest"), "number"),
    Column("CREATED", lambda row: show_time(row.get("created"))),
)
_VERSIONS = (
    Column("VERSION", field("version"), "number"),
    Column("CREATED", lambda row: show_time(row.get("created"))),
    Column("RELEASE", field("release"), "state"),
    Column("ESTIMATOR", field("card", "estimator")),
    Column("METRICS", field("card", "metrics")),
    Column("VARIANTS", lambda row: [item["variant"] for item in row.get("variants", ()) if _built(item)]),
)
_VARIANTS = (
    Column("VARIANT", field("variant")),
    Column("BUILT", lambda row: _built(row)),
    Column("SIZE", lambda row: show_size(row.get("size")), "number"),
    Column("PACKED", lambda row: show_size(row.get("packed_size")), "number"),
    Column("AGREEMENT", lambda row: show_ratio(field("parity", "label_agreement")(row)), "number"),
    Column("MAX DIFF", field("parity", "max_abs_diff"), "number"),
    Column("P50 µs", field("cost", "latency_p50_us"), "number"),
    Column("P99 µs", field("cost", "latency_p99_us"), "number"),
    Column("PROVEN ON", lambda row: _proven(row)),
    Column("FORM", field("form")),
    Column("WHY NOT", field("reason")),
)


def _proven(row: Row) -> list[str]:
    """Return the releases of the runtime that were tried, those on which the variant failed marked."""
    return [f"{item['version']}{' ✗' if item.get('reason') else ''}" for item in row.get("certificate", ())]


def _built(row: Row) -> bool:
    return bool(row.get("built", row.get("digest")))


@app.command(name="list")
def list_models(*, output: Output = "table") -> None:
    """List all models."""
    with connect() as client:
        rows = client.pages("/models")
    print_rows(rows, _MODELS, output, empty="No models yet. Push one: edgeloop model push DIR")


@app.command
def show(model: str, version: int | None = None, /, *, output: Output = "table") -> None:
    """Show a model's versions, or one version with its variants.

    Parameters
    ----------
    model
        The model's name.
    version
        The number of one version.
    """
    with connect() as client:
        if version is None:
            rows = client.pages(f"/models/{model}/versions")
            print_rows(rows, _VERSIONS, output, empty=f"{model} has no version yet. Push one: edgeloop model push DIR")
            return
        found = client.get(f"/models/{model}/versions/{version}")
    if output == "json":
        print_json(found)
    else:
        print_version(found)


@app.command
def card(model: str, version: int | None = None, /, *, output: Output = "table") -> None:
    """Show what is known of a version: data, split, metrics, gates, libraries, lineage.

    Parameters
    ----------
    model
        The model's name.
    version
        The number of the version; the newest where it is left out.
    """
    with connect() as client:
        number = version if version is not None else client.get(f"/models/{model}")["latest"]
        found = client.get(f"/models/{model}/versions/{number}/card")
    if output == "json":
        print_json(found)
        return
    print_fields((name.replace("_", " "), value) for name, value in found.items() if name != "gates")
    if gates := found.get("gates"):
        columns = tuple(Column(name.upper(), field(name)) for name in ("metric", "bound", "threshold", "value"))
        print_table(gates, columns, title="gates")


@app.command
def push(folder: Path, /, *, model: str | None = None, output: Output = "table") -> None:
    """Upload a finished version: the folder that `trainer fit` or `trainer compile` wrote.

    Parameters
    ----------
    folder
        The version's folder: version.json and variants/.
    model
        The model's name, if not the one in version.json.
    """
    name = model or _recorded_model(folder)
    files = [("files", path.relative_to(folder).as_posix(), path) for path in version_files(folder)]
    say(f"Pushing {len(files)} files of {name} ({show_size(sum(path.stat().st_size for _, _, path in files))}) …")
    with connect() as client:
        made = client.upload(f"/models/{name}/versions", files, {})
    if output == "json":
        print_json(made)
        return
    print_version(made)
    say(f"Next: edgeloop rollout start {name} {made['version']} --group GROUP --dry-run")


@app.command
def build(
    source: Path,
    /,
    *,
    data: Path,
    target: str,
    drop: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    model: str | None = None,
    task: str | None = None,
    description: str | None = None,
    budget: float | None = None,
    want: Literal["size", "latency"] | None = None,
    allow_pickle: Annotated[bool, Parameter(negative="")] = False,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
    output: Output = "table",
) -> int:
    """Have the server build a version from a fitted model (.skops or .onnx) and sample data.

    Parameters
    ----------
    source
        The fitted model: .skops or .onnx; with --allow-pickle also .joblib.
    data
        Rows to prove the variants on: .csv with a header, or .npz.
    target
        The column of the data that the model predicts.
    drop
        A column of a CSV file that is no feature; repeatable.
    model
        The model's name; the file's name where it is left out.
    task
        classification, regression, clustering or anomaly, where it cannot be told from the model.
    description
        A line for the model's card.
    budget
        What a smaller variant may lose: points of accuracy, or percent of R².
    want
        What a smaller variant is for: size or latency.
    allow_pickle
        Have a pickle loaded, which runs whatever code is in it; the server must accept pickles too.
    wait
        Follow the build to its end.
    """
    form = {"target": target, "task": task, "description": description, "want": want}
    form["budget"] = None if budget is None else format(budget, "g")
    form["allow_pickle"] = "true" if allow_pickle else None
    given: Fields = {key: value for key, value in form.items() if value is not None} | {"drop": list(drop)}
    return _send_build(source, data, model or source.stem.lower().replace(" ", "-"), given, wait=wait, output=output)


def _send_build(source: Path, data: Path, model: str, form: Fields, *, wait: bool, output: Output) -> int:
    for path in (source, data):
        if not path.is_file():
            raise CommandError(f"{path} is not a file", "", "edgeloop model build --help")
    files = [("source", source.name, source), ("data", data.name, data)]
    with connect() as client:
        operation = client.upload(f"/models/{model}/builds", files, form)
        if wait:
            return follow_operation(client, operation["id"], output)
    if output == "json":
        print_json(operation)
    else:
        say(f"The build runs as operation {operation['id']}. Follow it: edgeloop operations {operation['id']}")
    return 0


def version_files(folder: Path) -> list[Path]:
    """Return the files of a version's folder that are uploaded: its record and all variants.

    Raises:
        CommandError: the folder is no version.
    """
    variants = sorted(path for path in (folder / "variants").glob("*/*") if path.is_file())
    if not (folder / _RECORD).is_file() or not variants:
        raise CommandError(
            f"{folder} is not a version's folder",
            f"it needs {_RECORD} and variants/<variant>/ with the bundles' files",
            "trainer fit --help",
        )
    return [folder / _RECORD, *variants]


def print_version(found: dict[str, Any]) -> None:
    """Print one version: its card in short, then its variants."""
    told = found.get("card", {})
    print_fields(
        [
            ("model", found.get("model")),
            ("version", found.get("version")),
            ("created", show_time(found.get("created"))),
            ("release", found.get("release")),
            ("estimator", told.get("estimator")),
            ("task", told.get("task")),
            ("metrics", told.get("metrics")),
            ("description", told.get("description")),
        ]
    )
    print_table(found.get("variants", ()), _VARIANTS)


def _recorded_model(folder: Path) -> str:
    record = folder / _RECORD
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["card"]["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{folder} is not a version's folder", f"{record} cannot be read: {error}", "trainer fit --help"
        ) from error
