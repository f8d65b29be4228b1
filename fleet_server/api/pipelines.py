"""A model's training pipeline, and the lineage of what came of it."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile

from edge_agent.contract import codec
from fleet_server.api.answers import Answer, Time
from fleet_server.api.askers import Reader, needs_within
from fleet_server.api.context import Context
from fleet_server.api.models import Number
from fleet_server.api.uploads import check_path
from fleet_server.core.permissions import Permission
from fleet_server.core.pipelines import MAX_RECIPE_BYTES
from fleet_server.services.auth import Principal
from fleet_server.services.errors import InvalidError, TooLargeError
from fleet_server.services.pipelines import PipelineFiles

router = APIRouter(prefix="/api/v1/models", tags=["retraining"])
MAX_DATA_BYTES = 256 * 1024 * 1024
_OPTIONS = "what the pipeline may do, as a JSON object: see the how-to on retraining"
Asker = Annotated[Principal, needs_within(Permission.PUBLISH)]


class PipelineShown(Answer):
    """A model's pipeline; `digest` is over the recipe, the rows and the options."""

    model: str
    digest: str
    recipe: str
    recipe_sha256: str
    data_sha256: str | None
    options: dict[str, Any]
    author: str
    created: Time


class BundleShown(Answer):
    """A bundle of a version, and the devices that report to run it."""

    variant: str
    digest: str
    devices: list[str]


class LineageShown(Answer):
    """From the fingerprint of the rows to the digests that run, with the decisions between, the oldest first."""

    model: str
    version: int
    created: Time
    data: dict[str, Any]
    made: dict[str, str]
    parent: int | None
    gates: list[dict[str, Any]]
    metrics: dict[str, float]
    release: str
    automatic: bool
    proposal: dict[str, Any] | None
    bundles: list[BundleShown]
    decisions: list[dict[str, Any]]


@router.put("/{model}/pipeline")
def set_pipeline(
    model: str,
    recipe: Annotated[UploadFile, File(description="a TOML recipe of this model")],
    options: Annotated[str, Form(max_length=20_000, description=_OPTIONS)],
    context: Context,
    asker: Asker,
    data: Annotated[UploadFile | None, File(description="the rows, where the recipe names a CSV file")] = None,
) -> PipelineShown:
    """Register a training pipeline with a model, in the place of the one before."""
    plain = _read_options(options)
    asker.require_within(group=str(plain.get("group")), model=model)
    name = check_path(recipe.filename or "")
    if len(name.parts) != 1 or name.suffix != ".toml":
        raise InvalidError("a pipeline's recipe is a .toml file: one in Python is code, which a server does not run")
    rows = None if data is None else _read(data, MAX_DATA_BYTES)
    files = PipelineFiles(name.stem, _read(recipe, MAX_RECIPE_BYTES), rows)
    context.retraining.pipelines.set(model, files, plain, asker.name)
    return _show(context, model)


@router.get("/{model}/pipeline")
def show_pipeline(model: str, context: Context, _asker: Reader) -> PipelineShown:
    """Show a model's training pipeline."""
    return _show(context, model)


@router.delete("/{model}/pipeline", status_code=204)
def remove_pipeline(model: str, context: Context, asker: Asker) -> None:
    """Take a model's training pipeline away; an open proposal goes on."""
    _, pipeline = context.retraining.pipelines.show(model)
    asker.require_within(group=pipeline.options.group, model=model)
    context.retraining.pipelines.remove(model, asker.name)


@router.get("/{model}/versions/{version}/lineage")
def show_lineage(model: str, version: Number, context: Context, _asker: Reader) -> LineageShown:
    """Show where a version came from, what was decided of it, and which devices run it."""
    return LineageShown.model_validate(context.retraining.lineages.show(model, version).plain())


def _show(context: Context, model: str) -> PipelineShown:
    stored, pipeline = context.retraining.pipelines.show(model)
    return PipelineShown.model_validate(
        {
            "model": model,
            "digest": stored.digest,
            "recipe": f"{pipeline.recipe_name}.toml",
            "recipe_sha256": pipeline.recipe_sha256,
            "data_sha256": pipeline.data_sha256,
            "options": codec.to_plain(pipeline.options),
            "author": stored.author,
            "created": stored.created,
        }
    )


def _read_options(text: str) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"options are no JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InvalidError("options are a JSON object")
    return plain


def _read(file: UploadFile, most: int) -> bytes:
    data = file.file.read(most + 1)
    if len(data) > most:
        raise TooLargeError(f"{file.filename!r} has more than {most} bytes")
    return data
