"""The services of retraining that routes use, in one place."""

from dataclasses import dataclass

from fleet_server.services.lineage import Lineages
from fleet_server.services.pipelines import Pipelines
from fleet_server.services.proposals import Proposals


@dataclass(frozen=True, slots=True)
class RetrainingServices:
    """Pipelines, proposals and lineages."""

    pipelines: Pipelines
    proposals: Proposals
    lineages: Lineages
