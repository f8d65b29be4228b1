"""Explains rollouts: from the same windows and states as the controller decides, and by the same rules."""

from dataclasses import dataclass

from fleet_server.core.explanations import Explanation, explain_rollout
from fleet_server.core.rollouts import RolloutView
from fleet_server.services.canary import Observer
from fleet_server.services.clock import Clock
from fleet_server.store import rollouts
from fleet_server.store.database import Database
from fleet_server.store.rollouts import StoredRollout


@dataclass(frozen=True, slots=True)
class Explained:
    """A rollout, and what its evidence says at a time (epoch milliseconds)."""

    stored: StoredRollout
    explanation: Explanation
    at: int


class Explanations:
    """Explains rollouts to people."""

    def __init__(self, database: Database, observer: Observer, clock: Clock) -> None:
        self._database = database
        self._observer = observer
        self._clock = clock

    def explain(self, rollout: str) -> Explained:
        """Return a rollout's evidence as numbers and one sentence.

        Raises:
            NotFoundError: there is none of this id.
        """
        now = self._clock()
        with self._database.read() as connection:
            stored = rollouts.get_rollout(connection, rollout)
            if stored.rollout.state.value not in rollouts.OPEN_STATES:
                now = stored.updated  # what came after its end says nothing of it
            view = RolloutView(stored.rollout, rollouts.list_members(connection, rollout))
            observed = self._observer.observe(connection, view, now / 1000)
        return Explained(stored, explain_rollout(view, observed, now / 1000), now)
