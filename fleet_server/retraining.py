"""The parts of retraining, joined: what routes use, and what runs a training."""

from collections.abc import Callable
from dataclasses import dataclass

from fleet_server.builds.retrainer import Retrainer
from fleet_server.services.announcements import Announcer
from fleet_server.services.clock import Clock
from fleet_server.services.lineage import Lineages
from fleet_server.services.models import Models
from fleet_server.services.operations import Operations
from fleet_server.services.pipelines import Pipelines
from fleet_server.services.proposals import Proposals
from fleet_server.services.retraining import RetrainingServices
from fleet_server.services.rollouts import Rollouts
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database


@dataclass(frozen=True, slots=True)
class Retraining:
    """The retraining of one server: its services, and the runner of its trainings."""

    services: RetrainingServices
    runner: Retrainer


def build_retraining(
    shared: tuple[Database, ArtifactFolder, Announcer, Clock],
    models: Models,
    operations: Operations,
    rollouts: Rollouts,
    sign: Callable[[str], None],
) -> Retraining:
    """Join the parts; `sign` signs a model's automatic versions where a key for that is here."""
    database, artifacts, announcer, clock = shared
    pipelines = Pipelines(database, artifacts, clock)
    proposals = Proposals(database, pipelines, operations, rollouts, announcer, clock, sign)
    runner = Retrainer(database, artifacts, pipelines, proposals, models)
    return Retraining(RetrainingServices(pipelines, proposals, Lineages(database)), runner)
