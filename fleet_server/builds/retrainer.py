"""A training for a proposal: lays its files out for the box, and takes its verdict, with the version where it won.

House rules: the box gets the recipe, the rows and the running bundle, and nothing else of the server's; what comes out
is foreign until it was checked. A verdict and what follows from it are saved together.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge_agent.contract import codec
from edge_agent.contract.artifacts import parse_parcel
from edge_agent.contract.card import VERSION_NAME, VersionRecord
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest, parse_manifest
from edge_agent.contract.retraining import VERDICT_NAME, VERSION_FOLDER, RetrainVerdict
from fleet_server.builds.child import BuildError
from fleet_server.core.pipelines import Pipeline
from fleet_server.core.proposals import Proposal
from fleet_server.services.clock import iso
from fleet_server.services.fresh_rows import FreshRows, gather_rows
from fleet_server.services.models import Models
from fleet_server.services.packing import unpack_file
from fleet_server.services.pipelines import Pipelines
from fleet_server.services.proposal_facts import running_bundles, running_version
from fleet_server.services.proposals import AUTHOR, Proposals
from fleet_server.store import models as stored_models
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database

_MAX_VERDICT_BYTES = 1024 * 1024
_FRESH, _DATA, _RUNNING, _OUT = "fresh.csv", "data.csv", "running", "out"


@dataclass(frozen=True, slots=True)
class Running:
    """The version that runs, and the bundle of it that most devices of the group run."""

    version: int
    digest: str
    files: dict[str, bytes]
    manifest: Manifest


class Retrainer:
    """Knows what a training takes and leaves."""

    def __init__(
        self, database: Database, artifacts: ArtifactFolder, pipelines: Pipelines, proposals: Proposals, models: Models
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._pipelines = pipelines
        self._proposals = proposals
        self._models = models

    def prepare(self, proposal: str, folder: Path) -> list[str]:
        """Lay a training's files out in `folder`, save which rows it takes, and return the trainer's words.

        Raises:
            BuildError: nothing runs that it could be judged against, or there are too few rows for it.
            NotFoundError: a file of the pipeline is not kept.
        """
        held, pipeline = self._proposals.show(proposal)
        running, files = self._running(pipeline), self._pipelines.files(pipeline)
        columns = [feature.name for feature in running.manifest.input.features]
        target = str(tomllib.loads(files.recipe.decode())["data"].get("target", "target"))
        with self._database.read() as connection:
            fresh = gather_rows(connection, pipeline.model, columns, target, pipeline.options.max_fresh_rows)
        if fresh.rows < pipeline.options.min_fresh_rows:
            raise BuildError(
                f"{fresh.rows} labelled rows are of active devices and have the model's columns, {fresh.left_out} are "
                f"not; {pipeline.options.min_fresh_rows} are needed"
            )
        self._proposals.gathered(proposal, fresh.plain())
        recipe = folder / f"{files.recipe_name}.toml"
        recipe.write_bytes(files.recipe)
        (folder / _FRESH).write_bytes(fresh.csv)
        (folder / _RUNNING).mkdir()
        for name, data in running.files.items():
            (folder / _RUNNING / name).write_bytes(data)
        if files.data is not None:
            (folder / _DATA).write_bytes(files.data)
        words = ["retrain", str(recipe), "--fresh", str(folder / _FRESH), "--against", str(folder / _RUNNING)]
        words += [] if files.data is None else ["--data", str(folder / _DATA)]
        words += ["--out", str(folder / _OUT), "--json"]
        return [*words, *_terms(pipeline), *_lineage(held, pipeline, fresh, running)]

    def finish(self, proposal: str, folder: Path, operation: str, failed: BuildError | None) -> dict[str, object]:
        """Take the verdict that a training left, register the version where it won, and return what came of it.

        `failed` is how the child ended where it did not end well: of a lost verdict it is the usual end.

        Raises:
            BuildError: it left no verdict, or one that cannot be right.
            InvalidError: the version is not what a version must be.
        """
        verdict = _read_verdict(folder / _OUT / VERDICT_NAME, failed)
        held, _ = self._proposals.show(proposal)
        if verdict.model != held.model or (verdict.won and failed is not None):
            raise failed or BuildError(f"the verdict is of the model {verdict.model!r}, not of {held.model!r}")
        plain = codec.to_plain(verdict)
        if not verdict.won:
            self._proposals.lose(proposal, plain)
            return {"won": False, "reason": verdict.reason}
        place = folder / _OUT / VERSION_FOLDER
        _check_lineage(place, held)
        made = self._models.register(
            held.model,
            place,
            f"operation:{operation}",
            auto=True,
            saved=lambda connection, version: self._proposals.win(connection, proposal, plain, version),
        )
        return {"won": True, "model": made.model, "version": made.version, "reason": verdict.reason}

    def _running(self, pipeline: Pipeline) -> Running:
        model, group = pipeline.model, pipeline.options.group
        with self._database.read() as connection:
            version = running_version(connection, model, group)
            if version is None:
                raise BuildError(f"no device of the group {group!r} runs {model!r}: there is nothing to be better than")
            digest = running_bundles(connection, model, group, version)[0]
            parcel = stored_models.find_any_parcel(connection, digest)
        if parcel is None:
            raise BuildError(f"devices run the bundle {digest}, which this server does not keep")
        packed = parse_parcel(self._artifacts.read(parcel.digest))
        files = {file.name: unpack_file(packed, file.name, self._artifacts) for file in packed.files}
        return Running(version, digest, files, parse_manifest(files[MANIFEST_NAME]))


def _read_verdict(path: Path, failed: BuildError | None) -> RetrainVerdict:
    missing = failed or BuildError(f"the trainer ended well but left no {VERDICT_NAME}")
    try:
        if path.stat().st_size > _MAX_VERDICT_BYTES:
            raise BuildError(f"{VERDICT_NAME} is larger than {_MAX_VERDICT_BYTES} bytes")
        return codec.decode(RetrainVerdict, path.read_bytes())
    except OSError:
        raise missing from None
    except codec.MalformedError as error:
        raise BuildError(f"{VERDICT_NAME} is malformed: {error}") from error


def _check_lineage(place: Path, held: Proposal) -> None:
    """Check that the version says which proposal it came of, so that its lineage leads back."""
    try:
        record = codec.decode(VersionRecord, (place / VERSION_NAME).read_bytes())
    except (OSError, codec.MalformedError) as error:
        raise BuildError(f"the verdict is won, but there is no version with it: {error}") from error
    if record.card.lineage.get("proposal") != held.id:
        raise BuildError("the version does not say which proposal it came of")


def _terms(pipeline: Pipeline) -> list[str]:
    terms = pipeline.options.terms()
    shares = {
        "margin": terms.margin,
        "tolerance": terms.tolerance,
        "confidence": terms.confidence,
        "newest": terms.newest,
    }
    return [word for name, share in shares.items() for word in (f"--{name}", format(share * 100, ".12g"))]


def _lineage(held: Proposal, pipeline: Pipeline, fresh: FreshRows, running: Running) -> list[str]:
    facts = {
        "proposal": held.id,
        "pipeline": held.pipeline,
        "parent": f"{pipeline.model}@{running.version}",
        "fresh_file": fresh.sha256,
        "fresh_devices": str(fresh.devices),
        "fresh_from": iso(fresh.oldest),
        "fresh_to": iso(fresh.newest),
        "made_by": AUTHOR,
    }
    return [word for name, value in facts.items() for word in ("--lineage", f"{name}={value}")]
