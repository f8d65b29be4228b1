"""What a proposal's next step is decided on, looked up: rows, the operation, the release, the rollout."""

from collections import Counter

from sqlalchemy import Connection

from fleet_server.core.proposal_machine import ProposalState
from fleet_server.core.proposals import Ended, Facts, Proposal
from fleet_server.core.rollouts import RolloutState
from fleet_server.services.fresh_rows import count_fresh
from fleet_server.services.groups import members_of
from fleet_server.services.listings import ReleaseState, state_of
from fleet_server.services.operations import STOPPED, Operations
from fleet_server.store import groups, rollouts
from fleet_server.store.errors import NotFoundError
from fleet_server.store.operations import OperationState

_RELEASES = "docs/how-to/releases.md"


class ProposalFacts:
    """Looks up what the present state of a proposal asks for."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def look(self, connection: Connection, held: Proposal) -> Facts:
        """Return the facts for this proposal's state."""
        match held.state:
            case ProposalState.ACCEPTED:
                return Facts(fresh_rows=count_fresh(connection, held.model))
            case ProposalState.TRAINING:
                return self._training(held)
            case ProposalState.REGISTERED:
                return _signing(connection, held)
            case ProposalState.ROLLING:
                return _rolling(connection, held)
            case _:
                return Facts()

    def _training(self, held: Proposal) -> Facts:
        try:
            operation = self._operations.show(held.operation or "")
        except NotFoundError:
            return Facts(ended=Ended.CUT_OFF)
        match OperationState(operation.state):
            case OperationState.QUEUED | OperationState.RUNNING:
                return Facts()
            case OperationState.SUCCEEDED:
                return Facts(ended=Ended.WELL)
            case OperationState.CANCELLED:
                return Facts(ended=Ended.BADLY, told="the training was cancelled")
            case OperationState.FAILED:
                cut_off = (operation.error or "").startswith(STOPPED)
                return Facts(ended=Ended.CUT_OFF if cut_off else Ended.BADLY, told=operation.error or "")


def _signing(connection: Connection, held: Proposal) -> Facts:
    match state_of(connection, held.model, int(held.made or 0)):
        case ReleaseState.SIGNED:
            return Facts(ended=Ended.WELL)
        case ReleaseState.YANKED:
            return Facts(ended=Ended.BADLY, told="it was yanked before it was rolled out")
        case ReleaseState.UNSIGNED:
            wait = f"waits for the signer of auto/{held.model}: python -m fleet_server.autosign ({_RELEASES})"
            return Facts(told=wait)


def _rolling(connection: Connection, held: Proposal) -> Facts:
    rollout = rollouts.get_rollout(connection, held.rollout or "").rollout
    told = f"the rollout {rollout.id} is {rollout.state}" + (f": {rollout.reason}" if rollout.reason else "")
    match rollout.state:
        case RolloutState.SUCCEEDED:
            return Facts(ended=Ended.WELL, told=told)
        case RolloutState.HALTED | RolloutState.ABORTED:
            return Facts(ended=Ended.BADLY, told=told)
        case _:
            return Facts(told=told)


def running_version(connection: Connection, model: str, group: str) -> int | None:
    """Return the version of a model that most devices of a group report to run, or None where none does."""
    return next((version for version, _ in _running(connection, model, group).most_common(1)), None)


def running_bundles(connection: Connection, model: str, group: str, version: int) -> tuple[str, ...]:
    """Return the digests of a version's bundles that devices of a group report to run, the most frequent first."""
    counted: Counter[str] = Counter()
    for board in members_of(connection, groups.get_group(connection, group)):
        report = board.read_reported()
        for item in () if report is None else report.running:
            if (item.model, item.version) == (model, version):
                counted[item.digest] += 1
    return tuple(digest for digest, _ in counted.most_common())


def _running(connection: Connection, model: str, group: str) -> "Counter[int]":
    try:
        boards = members_of(connection, groups.get_group(connection, group))
    except NotFoundError:
        return Counter()
    reports = [report for board in boards if (report := board.read_reported()) is not None]
    return Counter(item.version for report in reports for item in report.running if item.model == model)
