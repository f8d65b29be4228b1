"""When packs are verified: one run at a time, newer packs together, again after failures and after a while."""

import json
from collections.abc import Mapping

import pytest

from edge_agent.adapters.verifier_process import Verified, VerifierFailed
from edge_agent.contract.messages import TrustHeld
from edge_agent.contract.topics import Topics
from edge_agent.contract.trust import DIRECTOR, IMAGE, seal_pack
from edge_agent.core.trust_rules import Finding
from edge_agent.supervisor.trust_desk import TrustDesk

TOPICS = Topics()
ORDER, RELEASES = TOPICS.desired("dev"), TOPICS.trust(IMAGE)
FOUND = Finding(TrustHeld())


class FakeVerifier:
    """Notes what it was started with, and keeps packs as the real one does."""

    def __init__(self) -> None:
        self.runs: list[tuple[dict[str, bytes], int]] = []
        self.packs: dict[str, bytes] = {}
        self.stopped = False

    def start(self, packs: Mapping[str, bytes], seq_floor: int) -> None:
        self.runs.append((dict(packs), seq_floor))
        self.packs |= packs

    def kept(self, repository: str) -> bytes | None:
        return self.packs.get(repository)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def verifier() -> FakeVerifier:
    return FakeVerifier()


@pytest.fixture
def desk(verifier: FakeVerifier) -> TrustDesk:
    made = TrustDesk("dev", TOPICS, verifier, lambda: 7)
    made.start(0.0)
    return made


def test_it_takes_the_two_topics_and_no_other(desk: TrustDesk) -> None:
    assert set(desk.filters) == {ORDER, RELEASES}
    assert desk.takes(ORDER)
    assert not desk.takes(TOPICS.trust("other"))
    assert not desk.takes(TOPICS.desired("dev-2"))


def test_newer_packs_wait_for_the_run_and_go_together(desk: TrustDesk, verifier: FakeVerifier) -> None:
    desk.arrived(ORDER, b"0", 1.0)
    desk.arrived(ORDER, b"1", 1.05)
    desk.tick(1.1)
    assert verifier.runs == []
    assert desk.next_due() == pytest.approx(1.15)
    desk.tick(1.16)
    for payload in (b"2", b"3"):
        desk.arrived(ORDER, payload, 1.2)
    desk.arrived(RELEASES, b"r", 1.3)
    desk.tick(1.5)
    assert verifier.runs == [({DIRECTOR: b"1"}, 7)]
    assert desk.next_due() is None
    assert desk.done(Verified(FOUND, 0.1), 2.0) == FOUND
    desk.tick(2.0)
    assert verifier.runs[1:] == [({DIRECTOR: b"3", IMAGE: b"r"}, 7)]


def pack(version: int, salt: str = "") -> bytes:
    timestamp = {"signed": {"version": version, "salt": salt}}
    return seal_pack({"timestamp.json": json.dumps(timestamp).encode()})


def test_an_older_pack_that_is_late_takes_no_newer_ones_place(desk: TrustDesk, verifier: FakeVerifier) -> None:
    for payload in (pack(2), pack(3), pack(2, "signed again"), pack(2)):
        desk.arrived(ORDER, payload, 1.0)
    desk.tick(1.2)
    assert verifier.runs == [({DIRECTOR: pack(3)}, 7)]


def test_the_same_pack_again_and_a_cleared_topic_change_nothing(desk: TrustDesk, verifier: FakeVerifier) -> None:
    desk.arrived(ORDER, b"1", 1.0)
    desk.tick(1.1)
    desk.done(Verified(FOUND, 0.1), 1.5)
    for payload in (b"1", b""):
        desk.arrived(ORDER, payload, 2.0)
    desk.tick(2.0)
    assert len(verifier.runs) == 1


def test_what_failed_is_tried_again_later_and_with_what_came_since(desk: TrustDesk, verifier: FakeVerifier) -> None:
    now, waits = 1.0, []
    desk.arrived(ORDER, b"1", now - 0.1)
    desk.tick(now)
    desk.arrived(RELEASES, b"r", now)
    for _ in range(12):
        assert desk.done(VerifierFailed("killed"), now) is None
        due = desk.next_due()
        assert due is not None
        waits.append(due - now)
        desk.tick(due - 0.01)
        now = due
        desk.tick(now)
    assert len(verifier.runs) == 13
    assert verifier.runs[1:] == [({DIRECTOR: b"1", IMAGE: b"r"}, 7)] * 12
    assert waits[:3] == [1, 2, 4]
    assert max(waits) == 300
    desk.done(Verified(FOUND, 0.1), now)
    desk.tick(now + 299)
    assert len(verifier.runs) == 13


def test_what_is_kept_is_verified_at_the_start_and_every_hour(verifier: FakeVerifier) -> None:
    verifier.packs = {DIRECTOR: b"1"}
    desk = TrustDesk("dev", TOPICS, verifier, lambda: 7)
    desk.start(0.0)
    desk.arrived(ORDER, b"1", 0.0)  # retained: the same again
    desk.tick(0.0)
    assert verifier.runs == [({}, 7)]
    desk.done(Verified(FOUND, 0.1), 1.0)
    desk.tick(3600.0)
    assert len(verifier.runs) == 1
    desk.tick(3601.0)
    assert len(verifier.runs) == 2
    desk.stop()
    assert verifier.stopped
