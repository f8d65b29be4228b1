"""A broker in virtual time: retained topics, sessions, wills; partitions, and restarts with and without its state.

House rules: a message is carried at QoS 1 over a link with a number. When the link is gone it is lost, or it waits in
the session and comes late, after the client has connected again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.session import Message
from tests.chaos.timeline import Timeline, Weather

TOPICS = Topics()
_WILL_S = 30.0
_LASTING = (f"/up/{Up.STATUS}", f"/up/{Up.REPORTED}")


@dataclass
class Port:
    """A device at the broker; `link` 0 means that it is not connected."""

    arrived: Callable[[int, str, bytes], None]
    will: tuple[str, bytes]
    link: int = 0
    topics: set[str] = field(default_factory=set)


class SimBroker:
    """The broker of a simulated fleet."""

    def __init__(self, timeline: Timeline, weather: Weather) -> None:
        self._timeline = timeline
        self._weather = weather
        self.up = True
        self.retained: dict[str, bytes] = {}
        self.unreachable: set[str] = set()
        self._ports: dict[str, Port] = {}
        self._missed: dict[str, list[tuple[str, bytes]]] = {}
        self._links = 0
        self._server: Callable[[Message], None] | None = None
        self._server_link = 0
        self._for_server: dict[int, tuple[str, bytes]] = {}
        self._count = 0

    # Devices.

    def connect(self, device: str, port: Port) -> int:
        """Connect a device; 0 where the broker cannot be reached."""
        if not self.up or device in self.unreachable:
            return 0
        self._links += 1
        port.link = self._links
        self._ports[device] = port
        for topic, payload in self._missed.pop(device, ()):
            self._send_down(port, device, topic, payload)
        return port.link

    def cut(self, device: str) -> None:
        """End a device's connection without a word; its will follows unless it comes back soon."""
        port = self._ports.pop(device, None)
        if port is None:
            return
        port.link = 0
        self._timeline.after(_WILL_S, self._speak_will, device, port)

    def subscribe(self, device: str, link: int, topic: str) -> None:
        """Subscribe a device to one topic; what is retained there is sent."""
        port = self._ports.get(device)
        if port is None or port.link != link:
            return
        port.topics.add(topic)
        if topic in self.retained:
            self._send_down(port, device, topic, self.retained[topic])

    def unsubscribe(self, device: str, topics: tuple[str, ...]) -> None:
        """End subscriptions."""
        if device in self._ports:
            self._ports[device].topics.difference_update(topics)

    def take_from(
        self, device: str, link: int, topic: str, payload: bytes, retain: bool, acked: Callable[[], None]
    ) -> None:
        """Carry a device's message here, and its acknowledgement back."""

        def arrive() -> None:
            port = self._ports.get(device)
            if port is not None and port.link == link:
                self.accept(topic, payload, retain=retain)
                self._weather.carry(acked)

        self._weather.carry(arrive)

    # Everybody.

    def accept(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Keep a message where it is to be retained, and send it to whoever is subscribed."""
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        if "/up/" in topic:
            self._count += 1
            self._for_server[self._count] = (topic, payload)
            self._send_up(self._count)
            return
        for device, port in tuple(self._ports.items()):
            if topic in port.topics:
                self._send_down(port, device, topic, payload)

    def restart(self, *, forget: bool, down_s: float) -> None:
        """End every connection; `forget` loses all that was retained or waited."""
        self.up = False
        for device in tuple(self._ports):
            self.cut(device)
        self.cut_server()
        if forget:
            self.retained.clear()
            self._missed.clear()
            self._for_server.clear()
        self._timeline.after(down_s, self._rise)

    def _rise(self) -> None:
        self.up = True

    # The server.

    def connect_server(self, receive: Callable[[Message], None]) -> int:
        """Connect the server: what waits for it is sent again, and each device's retained status and report."""
        if not self.up or "server" in self.unreachable:
            return 0
        self._links += 1
        self._server, self._server_link = receive, self._links
        for topic, payload in tuple(self.retained.items()):
            if topic.endswith(_LASTING):
                self._hand_up(self._server_link, Message(topic, payload, retained=True, ack=lambda: None))
        for number in tuple(self._for_server):
            self._send_up(number)
        return self._server_link

    def cut_server(self) -> None:
        """End the server's connection."""
        self._server, self._server_link = None, 0

    @property
    def server_link(self) -> int:
        """The number of the server's connection, 0 without one."""
        return self._server_link

    def refuse(self, message: Message) -> None:
        """The server could not take a message now: it is sent again later."""
        self._timeline.after(5.0, self._hand_up, self._server_link, message)

    @property
    def waiting(self) -> int:
        """Messages that the server has not acknowledged."""
        return len(self._for_server)

    def _send_up(self, number: int) -> None:
        topic, payload = self._for_server[number]
        message = Message(topic, payload, retained=False, ack=lambda: self._for_server.pop(number, None))
        self._hand_up(self._server_link, message)

    def _hand_up(self, link: int, message: Message) -> None:
        def arrive() -> None:
            if self._server is not None and link == self._server_link:
                self._server(message)

        if link:
            self._weather.carry(arrive)

    def _send_down(self, port: Port, device: str, topic: str, payload: bytes) -> None:
        link = port.link

        def arrive() -> None:
            if port.link == link:
                port.arrived(link, topic, payload)
            elif self._weather.chance(0.5):
                self._missed.setdefault(device, []).append((topic, payload))

        self._weather.carry(arrive)

    def _speak_will(self, device: str, port: Port) -> None:
        if device not in self._ports and self.up:
            self.accept(*port.will, retain=True)
