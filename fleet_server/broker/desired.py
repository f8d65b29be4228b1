"""Packs of signed metadata, retained on their topics: what all devices may run, and what one device should run.

House rules: only carriers pass here; what is in them was signed elsewhere and is verified by devices.
"""

from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.session import Session


class PackPublisher:
    """Publishes packs, retained: a device that was away finds the newest when it returns. A repeat does no harm."""

    def __init__(self, session: Session, topics: Topics) -> None:
        self._session = session
        self._topics = topics

    def publish(self, device: str, pack: bytes) -> None:
        """Publish a device's director pack; returns when the broker has it.

        Raises:
            BrokerUnavailableError: try again later.
        """
        self._session.publish(self._topics.desired(device), pack, retain=True)

    def publish_trust(self, repository: str, pack: bytes) -> None:
        """Publish the pack of a repository that all devices read; returns when the broker has it.

        Raises:
            BrokerUnavailableError: try again later.
        """
        self._session.publish(self._topics.trust(repository), pack, retain=True)

    def clear(self, device: str) -> None:
        """Take away all that is retained for or from a device that was removed.

        Raises:
            BrokerUnavailableError: try again later.
        """
        topics = (
            self._topics.desired(device),
            self._topics.up(device, Up.REPORTED),
            self._topics.up(device, Up.STATUS),
        )
        self._session.publish_many([(topic, b"") for topic in topics], retain=True)
