"""What the number of devices in Mosquitto's access list costs: a change, a connection, a message.

    python benchmarks/broker/access.py [--many 10000] [--connected 100] [--repeats 15]

Two brokers run side by side, one with 10 devices and one with many, and take turns, so that both see the same machine.
Ratios of medians count, milliseconds do not. `change` is one device let in while `connected` others are there (files
written, read again by the broker, confirmed); `connect` and `message` are of the last device of the list, which
Mosquitto finds last.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from edge_agent.contract.topics import Topics
from fleet_server.broker.accounts import render_access
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto import Mosquitto
from fleet_server.broker.session import Message, Session

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fakes.certificates import Certifier
from tests.fakes.mosquitto import mosquitto_program

TOPICS = Topics()
FEW = 10
COHORT = "pi4"
DIGEST = "a" * 64


class Place:
    """A broker with so many devices, of which the last one is used here."""

    def __init__(self, folder: Path, count: int, connected: int) -> None:
        self.certifier = Certifier(folder / "keys")
        self.names = [f"board-{n:06d}" for n in range(count)]
        accounts = folder / "m" / "accounts.json"
        accounts.parent.mkdir(mode=0o700)
        devices = {name: {"cohort": COHORT} for name in self.names}
        accounts.write_text(json.dumps({"server_password": "s", "dashboard_password": "d", "devices": devices}))
        self.broker = Mosquitto(mosquitto_program(), folder / "m", TOPICS, self.certifier.tls)
        self.broker.start()
        # The same number on both brokers: it is the list that is compared. Where it is short, devices that are added.
        others = self.names[:-1][:connected]
        for n in range(connected - len(others)):
            others.append(f"other-{n:06d}")
            self.broker.accounts.add(others[-1], None, COHORT)
        self.others = [self.session(name) for name in others]
        self.last = self.names[-1]
        self.certificate = self.certifier.certify(self.last)
        self.server = Session(self.broker.address(), "_server")
        self.server.start()
        assert self.server.wait_connected(10)
        self.device = self.session(self.last, self.certificate)
        self.arrived = threading.Event()
        self.device.subscribe([TOPICS.chunk(COHORT, DIGEST)], self._arrive)
        self._added = 0

    def session(self, name: str, certificate: Path | None = None) -> Session:
        """Connect as a device."""
        end = self.broker.endpoint()
        shown = certificate or self.certifier.certify(name)
        address = BrokerAddress(end.host, end.port, name, tls=True, ca_pem=end.ca_pem, certificate=shown)
        made = Session(address, name)
        made.start()
        assert made.wait_connected(20)
        return made

    def change(self) -> None:
        """Let one more device in."""
        self._added += 1
        self.broker.accounts.add(f"new-{self._added}", None, COHORT)

    def connect(self) -> None:
        """Connect as the last device of the list, which puts the connection before out."""
        self.device.stop()
        self.device = self.session(self.last, self.certificate)
        self.device.subscribe([TOPICS.chunk(COHORT, DIGEST)], self._arrive)

    def message(self) -> None:
        """Bring twenty chunks to the last device of the list."""
        for _ in range(20):
            self.arrived.clear()
            self.server.publish(TOPICS.chunk(COHORT, DIGEST), b"chunk")
            assert self.arrived.wait(10)

    def render(self) -> None:
        """Make the text of the list."""
        render_access(TOPICS, dict.fromkeys(self.names, COHORT))

    def close(self) -> None:
        """End all."""
        for session in (*self.others, self.device, self.server):
            session.stop()
        self.broker.stop()

    def _arrive(self, _message: Message) -> None:
        self.arrived.set()


def main() -> int:
    """Measure and print."""
    options = _parse()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        few, many = (
            stack.enter_context(_place(Path(scratch) / name, count, options.connected))
            for name, count in (("few", FEW), ("many", options.many))
        )
        size = (Path(scratch) / "many" / "m" / "access").stat().st_size
        print(f"{options.connected} connected; the list of {options.many} devices has {size / 1024:.0f} KiB")
        print(f"{'median ms':12} {FEW:>10} {options.many:>10} {'ratio':>8}")
        for what in ("render", "change", "connect", "message"):
            pairs = [(_time(getattr(few, what)), _time(getattr(many, what))) for _ in range(options.repeats)]
            small, large = (statistics.median(values) for values in zip(*pairs, strict=True))
            print(f"{what:12} {small:>10.2f} {large:>10.2f} {large / small:>8.2f}")
    return 0


@contextmanager
def _place(folder: Path, count: int, connected: int) -> Iterator[Place]:
    folder.mkdir()
    place = Place(folder, count, connected)
    try:
        yield place
    finally:
        place.close()


def _time(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--connected", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
