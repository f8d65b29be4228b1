"""How the desired document passes from the server to an agent: the one place to change when the wire does.

The server's end returns what is published retained for a device; the agent's end hands what came to the updates.
"""

from edge_agent.contract.messages import Desired
from edge_agent.contract.topics import Topics
from edge_agent.supervisor.updates import Updates
from fleet_server.broker.desired import Signer, seal_desired


def outgoing(desired: Desired, topics: Topics, signer: Signer) -> tuple[tuple[str, bytes], ...]:
    """Return the topics and payloads that carry a document."""
    return ((topics.desired(desired.device), seal_desired(desired, signer)),)


def incoming(topics: Topics, device: str) -> tuple[str, ...]:
    """Return the topics on which a device's documents come."""
    return (topics.desired(device),)


def arrive(updates: Updates, topic: str, payload: bytes, now: float) -> None:
    """Hand to the updates of an agent what came on one of the `incoming` topics."""
    del topic
    if payload:
        updates.desired_arrived(payload, now)
