"""Pipelines: a recipe, rows and options, kept by their content; a model's present one may be replaced or taken away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.topics import check_name
from fleet_server.core.pipelines import Pipeline, judge_recipe, parse_options
from fleet_server.core.rollout_policy import AUTOMATIC_POLICY, Policy, parse_policy
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.store import groups, models, proposals
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.errors import NotFoundError
from fleet_server.store.proposals import StoredPipeline


@dataclass(frozen=True, slots=True)
class PipelineFiles:
    """What a pipeline is made of: a recipe under its name, and its rows where it names a CSV file."""

    recipe_name: str
    recipe: bytes
    data: bytes | None = None


class Pipelines:
    """Registers, shows and removes pipelines."""

    def __init__(self, database: Database, artifacts: ArtifactFolder, clock: Clock) -> None:
        self._database = database
        self._artifacts = artifacts
        self._clock = clock

    def set(self, model: str, files: PipelineFiles, options: Mapping[str, Any], author: str) -> StoredPipeline:
        """Make this the model's pipeline; open proposals go on with the one that they began with.

        Raises:
            NotFoundError: there is no such model or group.
            InvalidError: the recipe or an option is not what a pipeline takes.
        """
        try:
            check_name(files.recipe_name)
            parsed = parse_options(options)
            policy_of(parsed.policy)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        if problem := judge_recipe(files.recipe, model, has_data=files.data is not None):
            raise InvalidError(problem)
        with self._database.read() as connection:
            models.get_model(connection, model)
            if not groups.get_group(connection, parsed.group).accept_auto:
                raise InvalidError(
                    f"the group {parsed.group!r} takes no automatic versions: make one that does, "
                    "`edgeloop group create NAME QUERY --accept-auto`"
                )
        data = None if files.data is None else self._artifacts.put(files.data)
        pipeline = Pipeline(model, files.recipe_name, self._artifacts.put(files.recipe), parsed, data)
        stored = StoredPipeline(model, self._artifacts.put(codec.encode(pipeline)), author, self._clock())
        with self._database.write() as connection:
            proposals.save_pipeline(connection, stored)
            facts: dict[str, Any] = {"digest": stored.digest, "recipe": pipeline.recipe_sha256, "data": data}
            detail = {**facts, "group": parsed.group, "automatic": parsed.automatic}
            record_audit(connection, stored.created, author, "pipeline_set", model, detail)
        return stored

    def show(self, model: str) -> tuple[StoredPipeline, Pipeline]:
        """Return a model's pipeline.

        Raises:
            NotFoundError: it has none.
        """
        with self._database.read() as connection:
            found = proposals.find_pipeline(connection, model)
        if found is None:
            raise NotFoundError(f"{model!r} has no pipeline: edgeloop model pipeline set {model} --recipe FILE.toml")
        return found, self.read(found.digest)

    def remove(self, model: str, author: str) -> None:
        """Take a model's pipeline away; an open proposal goes on with it.

        Raises:
            NotFoundError: it has none.
        """
        with self._database.write() as connection:
            if not proposals.delete_pipeline(connection, model):
                raise NotFoundError(f"{model!r} has no pipeline")
            record_audit(connection, self._clock(), author, "pipeline_removed", model)

    def find(self, connection: Connection, model: str) -> tuple[str, Pipeline] | None:
        """Return the digest and content of a model's pipeline, or None."""
        found = proposals.find_pipeline(connection, model)
        return None if found is None else (found.digest, self.read(found.digest))

    def read(self, digest: str) -> Pipeline:
        """Return the pipeline whose document has this digest.

        Raises:
            NotFoundError: it is not kept here.
        """
        return codec.decode(Pipeline, self._artifacts.read(digest))

    def files(self, pipeline: Pipeline) -> PipelineFiles:
        """Return a pipeline's files.

        Raises:
            NotFoundError: one is not kept here.
        """
        data = None if pipeline.data_sha256 is None else self._artifacts.read(pipeline.data_sha256)
        return PipelineFiles(pipeline.recipe_name, self._artifacts.read(pipeline.recipe_sha256), data)


def policy_of(document: Mapping[str, Any] | None) -> Policy:
    """Return the policy of a pipeline's rollouts: the one for rollouts that nobody watches, where it names none.

    Raises:
        ValueError: it is none.
    """
    return AUTOMATIC_POLICY if document is None else parse_policy(document)
