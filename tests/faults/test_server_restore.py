"""An old backup is restored while the fleet has gone on: no device goes back, and the same wave resumes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.contract.messages import Progress, Reported, Running
from edge_agent.contract.states import UpdateState
from fleet_server.broker.evidence import Rejected
from fleet_server.links import PatientIntake
from fleet_server.services.assignments import MAX_SEQ
from fleet_server.services.backups import make_backup, restore_backup
from tests.fakes.server_app import Board, Served, served
from tests.fakes.server_broker import MemoryWire

PASSPHRASE = "correct horse battery staple"
COST = 4


class Story:
    """A server that is backed up, goes on for a while, and is set back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backup = folder / "backup"
        self.wire = MemoryWire()
        self.boards: dict[str, Board] = {}
        self.versions: dict[str, list[int]] = {}

    def save(self, fleet: Served) -> None:
        make_backup(fleet.folder / "data", self.backup, PASSPHRASE, "1.0", lambda _: None, COST)

    @contextmanager
    def restored(self, wire: MemoryWire | None = None) -> Iterator[Served]:
        """The server after the restore, on a broker that still has all (or on `wire`), with the same devices."""
        place = self.folder / "server" / "data"
        shutil.rmtree(place)
        restore_backup(self.backup, place, PASSPHRASE, 1_800_000_500_000, lambda _: None)
        found = wire or self.wire
        found.generation += 1
        found.history.clear()
        with served(self.folder / "server", found) as fleet:
            fleet.clock.ms = 1_800_000_600_000
            for board in self.boards.values():
                board.fleet = fleet
            yield fleet

    @contextmanager
    def begun(self, count: int) -> Iterator[Served]:
        with served(self.folder / "server", self.wire) as fleet:
            fleet.upload("v1", b"one")
            fleet.upload("v2", b"two")
            fleet.group()
            self.boards = {f"pi-{number}": fleet.enrol(f"pi-{number}") for number in range(count)}
            fleet.roll(1, phases=["100%"])
            for board in self.boards.values():
                board.succeed()
            yield fleet

    def speak(self) -> None:
        """Every device says again what it said last, as it does on each connection."""
        for board in self.boards.values():
            board.repeat()

    def follow(self) -> None:
        """Devices do what their documents say, until nothing is new; what each ran is noted."""
        for _ in range(10):
            for name, board in self.boards.items():
                if name in board.fleet.wire.desired and board.desired().seq > board.desired_seq:
                    board.succeed()
                self.versions.setdefault(name, []).extend(item.version for item in board.running)
            next(iter(self.boards.values())).fleet.turn()


def ran_backwards(versions: dict[str, list[int]]) -> list[str]:
    return [name for name, seen in versions.items() if seen != sorted(seen)]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_the_same_wave_resumes_and_no_device_goes_back(story: Story) -> None:
    with story.begun(4) as fleet:
        identity = fleet.roll(2, phases=["1", "2", "100%"])
        story.save(fleet)  # one device is offered version 2
        story.follow()  # the lost while: all four come to version 2
        assert fleet.rollout(identity)["state"] == "succeeded"
        assert all(seen[-1] == 2 for seen in story.versions.values())
    with story.restored() as fleet:
        fleet.turn()
        assert fleet.wire.history == []  # nobody was heard yet
        story.speak()
        story.follow()
        assert fleet.rollout(identity)["state"] == "succeeded"
        assert ran_backwards(story.versions) == []
        assert all(item.bundles[0].version == 2 for item in fleet.wire.history)
        assert all(view["in_sync"] for view in fleet.call("GET", "/devices")["items"])


def test_a_broker_that_lost_everything_is_told_what_each_device_runs(story: Story) -> None:
    with story.begun(3) as fleet:
        identity = fleet.roll(2, phases=["1", "100%"])
        story.save(fleet)
        story.follow()
    with story.restored(MemoryWire()) as fleet:
        story.speak()
        story.follow()
        assert set(fleet.wire.desired) == set(story.boards)
        assert fleet.rollout(identity)["state"] == "succeeded"
        assert ran_backwards(story.versions) == []


def test_documents_go_on_past_all_that_devices_have_seen(story: Story) -> None:
    with story.begun(2) as fleet:
        story.save(fleet)
        for version in (2, 1, 2, 1, 2):
            fleet.roll(version, phases=["100%"])
            story.follow()
        seen = max(board.desired_seq for board in story.boards.values())
    with story.restored() as fleet:
        story.speak()
        assert {item.device for item in fleet.wire.history} == set(story.boards)
        assert all(item.seq > max(seen, 1_800_000_000) for item in fleet.wire.history)


def test_an_offline_device_is_served_when_it_is_heard_and_not_before(story: Story) -> None:
    with story.begun(2) as fleet:
        story.save(fleet)
        fleet.roll(2, phases=["100%"])
        story.follow()
    with story.restored() as fleet:
        story.boards["pi-0"].repeat()
        for _ in range(3):
            fleet.turn()
        assert {item.device for item in fleet.wire.history} == {"pi-0"}
        (note,) = [text for text in fleet.call("GET", "/fleet")["server"]["notes"] if "backup" in text]
        assert "1 devices" in note
        story.boards["pi-1"].repeat()
        assert [item.version for item in fleet.wire.desired["pi-1"].bundles] == [2]
        assert not any("backup" in text for text in fleet.call("GET", "/fleet")["server"]["notes"])


def test_a_device_in_the_middle_of_an_update_is_waited_for(story: Story) -> None:
    with story.begun(1) as fleet:
        story.save(fleet)
        fleet.roll(2, phases=["100%"])
        board = story.boards["pi-0"]
        wanted = board.desired()
    with story.restored() as fleet:
        board.seq += 1
        busy = Reported(
            board.id,
            board.boot,
            board.seq,
            0,
            wanted.seq,
            board.running,
            board.capabilities(),
            Progress(wanted.seq, UpdateState.FETCHING, 1),
        )
        fleet.server.intake.on_reported(busy)
        fleet.turn()
        assert fleet.wire.history == []
        board.succeed()  # the document of the lost while, which the broker still holds
        assert [(item.seq > wanted.seq, item.bundles[0].version) for item in fleet.wire.history] == [(True, 2)]


def test_a_version_from_after_the_backup_is_served_on_once_it_is_pushed_again(story: Story) -> None:
    with story.begun(2) as fleet:
        story.save(fleet)
        fleet.upload("v3", b"three")
        fleet.roll(3, phases=["100%"])
        story.follow()
    with story.restored() as fleet:
        story.speak()
        fleet.turn()
        assert fleet.wire.history == []
        notes = fleet.call("GET", "/fleet")["server"]["notes"]
        assert any("push it again" in text for text in notes), notes
        fleet.upload("v3-again", b"three")
        fleet.turn()
        assert {(item.device, item.bundles[0].version) for item in fleet.wire.history} == {("pi-0", 3), ("pi-1", 3)}
        story.follow()
        assert ran_backwards(story.versions) == []


def test_a_version_that_was_taken_back_since_is_not_offered_there_again(story: Story) -> None:
    with story.begun(2) as fleet:
        identity = fleet.roll(2, phases=["1", "100%"])
        story.save(fleet)
        (name,) = [name for name, state in fleet.states(identity).items() if state == "offered"]
        story.boards[name].fail(model="digits")  # the lost while: it failed and went back
        story.follow()
        assert [item.version for item in story.boards[name].running] == [1]
    with story.restored() as fleet:
        story.speak()
        story.follow()
        shown = fleet.rollout(identity)
        assert shown["state"] == "halted"
        assert "taken_back" in shown["reason"]
        assert {board.running[0].version for board in story.boards.values()} == {1}


def test_a_database_that_was_set_back_by_other_means_heals_as_well(story: Story) -> None:
    with story.begun(2) as fleet:
        story.save(fleet)
        fleet.roll(2, phases=["100%"])
        story.follow()
    with story.restored() as fleet:
        with fleet.server._database.write() as connection:
            connection.exec_driver_sql("DELETE FROM settings WHERE key = 'restored'")
            connection.exec_driver_sql("UPDATE desired SET published_seq = 0")
        story.speak()
        story.follow()
        assert ran_backwards(story.versions) == []
        assert all(item.bundles[0].version == 2 for item in fleet.wire.history if item.seq > 2)


def test_an_absurd_number_harms_nobody_but_the_device_that_says_it(story: Story) -> None:
    with story.begun(2) as fleet:
        liar = story.boards["pi-0"]
        liar.desired_seq = 2**63 - 1
        liar.report()
        fleet.roll(2, phases=["100%"])
        assert fleet.wire.desired["pi-0"].seq < MAX_SEQ
        story.boards["pi-1"].succeed()
        assert story.boards["pi-1"].running[0].version == 2


def test_devices_from_after_the_backup_are_counted_and_named(story: Story) -> None:
    with story.begun(1) as fleet:
        story.save(fleet)
        late = fleet.enrol("late")
    with story.restored() as fleet:
        intake = PatientIntake(fleet.server.intake, fleet.server.stopping, fleet.server.recovery.meet_stranger)
        for _ in range(3):
            intake.on_rejected("late", "its topic", Rejected.UNKNOWN_DEVICE, "late is not enrolled")
        intake.on_rejected("forged", "its topic", Rejected.BAD_SIGNATURE, "no signature")
        (note,) = [text for text in fleet.call("GET", "/fleet")["server"]["notes"] if "Unknown" in text]
        assert "3 messages (late)" in note
        assert "edgeloop device token" in note
        story.boards["late"] = fleet.enrol(late.id)
        assert not any("Unknown" in text for text in fleet.call("GET", "/fleet")["server"]["notes"])


def test_a_device_that_runs_nothing_new_keeps_its_place(story: Story) -> None:
    with story.begun(2) as fleet:
        identity = fleet.roll(2, phases=["1", "100%"])
        story.save(fleet)
    with story.restored() as fleet:
        story.speak()
        story.follow()
        assert fleet.rollout(identity)["state"] == "succeeded"
        assert ran_backwards(story.versions) == []
        assert {board.running for board in story.boards.values()} != {()}
        assert all(isinstance(item, Running) for board in story.boards.values() for item in board.running)
