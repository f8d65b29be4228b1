"""Models, versions and builds."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from fastapi import Path as InPath

from fleet_server.api.answers import Answer, ListOf, Time
from fleet_server.api.askers import Reader, needs
from fleet_server.api.context import Context, Paging
from fleet_server.api.operations import OperationShown
from fleet_server.api.uploads import check_path, save, save_all, temporary_folder
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.services.errors import InvalidError
from fleet_server.services.operations import BuildRequest, plain_operation
from fleet_server.store.models import Variant, Version

router = APIRouter(prefix="/api/v1/models", tags=["models"])
_BUDGET = "what a smaller variant may lose: points of accuracy, or percent of R²"
_DROP = "columns of a CSV file that are no features"
_ALLOW_PICKLE = "load a pickle, which runs whatever code is in it; the server must accept pickles too"
Number = Annotated[int, InPath(ge=1, le=2**31 - 1)]


class ModelShown(Answer):
    """A model and its newest version's number."""

    name: str
    created: Time
    latest: int


class VariantShown(Answer):
    """A variant: its bundle, or the reason why there is none."""

    variant: str
    runtime: str
    precision: str
    built: bool
    reason: str | None
    digest: str | None
    size: int | None
    packed_size: int | None
    parity: dict[str, Any] | None
    cost: dict[str, Any] | None
    requires: dict[str, Any] | None
    # How it was made smaller, in words; empty where nothing is lost by design.
    form: str
    # What each release of its runtime made of it; `reason` says why one may not run it.
    certificate: list[dict[str, Any]]


class VersionShown(Answer):
    """A version with its card and variants, and what was tried within which budget to make it smaller.

    `release` says how it stands with the release keys: `signed`, `unsigned` or `yanked`.
    """

    model: str
    version: int
    created: Time
    release: str
    card: dict[str, Any]
    variants: list[VariantShown]
    budget: dict[str, Any] | None
    frontier: list[dict[str, Any]]
    advice: list[str]


def show_variant(variant: Variant, packed_size: int | None) -> VariantShown:
    """Return a variant as it is shown; sizes in bytes."""
    manifest = dict(variant.manifest or {})
    return VariantShown(
        variant=variant.variant,
        runtime=variant.runtime,
        precision=variant.precision,
        built=variant.digest is not None,
        reason=variant.reason,
        digest=variant.digest,
        size=sum(file["size"] for file in manifest["files"]) if manifest else None,
        packed_size=packed_size,
        parity=manifest.get("parity"),
        cost=manifest.get("cost"),
        requires=manifest.get("requires"),
        form=manifest.get("form", ""),
        certificate=manifest.get("certificate", []),
    )


def _show(context: Context, model: str, version: int) -> VersionShown:
    found, variants = context.models.show_version(model, version)
    state = context.models.release_state(model, version)
    return _version(found, [show_variant(item, packed) for item, packed in variants], state)


def _version(found: Version, variants: list[VariantShown], release: str) -> VersionShown:
    return VersionShown.model_validate(
        {
            "model": found.model,
            "version": found.version,
            "created": found.created,
            "release": release,
            "card": dict(found.record["card"]),
            "variants": variants,
            "budget": found.record.get("budget"),
            "frontier": found.record.get("frontier", []),
            "advice": found.record.get("advice", []),
        }
    )


@router.get("")
def list_models(context: Context, paging: Paging, _asker: Reader) -> ListOf[ModelShown]:
    """List models by name."""
    page = context.models.list_models(paging)
    return ListOf(items=[_model(context, item.name) for item in page.items], next=page.next)


def _model(context: Context, name: str) -> ModelShown:
    model, latest = context.models.show_model(name)
    return ModelShown.model_validate({"name": model.name, "created": model.created, "latest": latest})


@router.get("/{model}")
def show_model(model: str, context: Context, _asker: Reader) -> ModelShown:
    """Show a model."""
    return _model(context, model)


@router.get("/{model}/versions")
def list_versions(model: str, context: Context, paging: Paging, _asker: Reader) -> ListOf[VersionShown]:
    """List a model's versions, newest first."""
    page = context.models.list_versions(model, paging)
    return ListOf(items=[_show(context, item.model, item.version) for item in page.items], next=page.next)


@router.get("/{model}/versions/{version}")
def show_version(model: str, version: Number, context: Context, _asker: Reader) -> VersionShown:
    """Show a version."""
    return _show(context, model, version)


@router.get("/{model}/versions/{version}/card")
def show_card(model: str, version: Number, context: Context, _asker: Reader) -> dict[str, Any]:
    """Show a version's card."""
    return _show(context, model, version).card


@router.get("/{model}/versions/{version}/variants")
def list_variants(model: str, version: Number, context: Context, _asker: Reader) -> ListOf[VariantShown]:
    """List a version's variants, those that could not be built among them."""
    return ListOf(items=_show(context, model, version).variants, next=None)


@router.post("/{model}/versions", status_code=201)
def upload_version(
    model: str,
    files: Annotated[list[UploadFile], File()],
    context: Context,
    asker: Annotated[Principal, needs(Permission.PUBLISH)],
) -> VersionShown:
    """Upload a finished version folder: each file's name is its path inside the folder."""
    with temporary_folder(context.work_folder) as folder:
        save_all(files, folder, context.upload_bytes)
        made = context.models.register(model, folder, asker.name)
    return _show(context, made.model, made.version)


@router.post("/{model}/builds", status_code=202)
def start_build(
    model: str,
    source: Annotated[UploadFile, File(description="a .skops or .onnx file; with allow_pickle also .joblib")],
    data: Annotated[UploadFile, File(description="rows to prove it on: .csv or .npz")],
    target: Annotated[str, Form(max_length=200)],
    context: Context,
    asker: Annotated[Principal, needs(Permission.PUBLISH)],
    drop: Annotated[list[str], Form(max_length=1000, description=_DROP)] = [],  # noqa: B006 - a form's default
    task: Annotated[str | None, Form(max_length=40)] = None,
    description: Annotated[str, Form(max_length=2000)] = "",
    budget: Annotated[float | None, Form(ge=0, le=100, description=_BUDGET)] = None,
    want: Annotated[str | None, Form(max_length=40, description="what a smaller variant is for: size, latency")] = None,
    allow_pickle: Annotated[bool, Form(description=_ALLOW_PICKLE)] = False,
) -> OperationShown:
    """Compile and prove a model that was made elsewhere; the answer is an operation to follow."""
    names = [check_path(file.filename or "") for file in (source, data)]
    if any(len(name.parts) != 1 for name in names) or names[0] == names[1]:
        raise InvalidError("source and data are two plain file names")
    request = BuildRequest(
        model=model,
        source=f"source{names[0].suffix}",
        data=f"data{names[1].suffix}",
        target=target,
        drop=tuple(drop),
        task=task,
        description=description,
        budget=budget,
        want=want,
        allow_pickle=allow_pickle,
    )
    context.operations.admit(request)
    identity = context.operations.new_id()
    folder = context.operations.folder_of(identity)
    try:
        left = context.upload_bytes - save(source, folder / request.source, context.upload_bytes)
        save(data, folder / request.data, left)
        operation = context.operations.queue_build(identity, request, asker.name)
    except BaseException:
        context.operations.clean(identity)
        raise
    return OperationShown.model_validate(plain_operation(operation))
