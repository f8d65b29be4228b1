"""Fresh rows come in the order of time, over all devices, and only from devices that take part."""

from edge_agent.contract.feedback import FeedbackRows, LabelledRow
from fleet_server.services.fresh_rows import gather_rows, place_in_time
from fleet_server.store.feedback import StoredFeedback, save_feedback
from tests.fakes.server_app import Served

DIGEST = "c" * 64


def stored(device: str, number: int, ts: int, values: tuple[float, ...], received: int = 10**9) -> list[StoredFeedback]:
    head = (device, 1, number, "digits", 1, DIGEST, ts, received, ("a",))
    return [StoredFeedback(*head, LabelledRow((value,), 1, 1)) for value in values]


def test_rows_lie_evenly_between_two_messages_of_their_device() -> None:
    rows = stored("pi-2", 2, 300, (7, 8)) + stored("pi-1", 1, 100, (1, 2)) + stored("pi-1", 2, 200, (3, 4))
    placed = {item.row.inputs[0]: at for at, item in place_in_time(rows)}
    assert placed == {1: 50, 2: 100, 3: 150, 4: 200, 7: 300, 8: 300}


def test_a_clock_that_is_ahead_makes_no_row_newer_than_its_message() -> None:
    ((at, _),) = place_in_time(stored("pi-1", 1, 10**12, (1,), received=500))
    assert at == 500


def test_what_is_written_is_what_the_trainer_reads(fleet: Served) -> None:
    boards = [fleet.enrol(name) for name in ("pi-1", "pi-2", "pi-3")]
    fleet.call("POST", f"/devices/{boards[2].id}/revoke", json={"reason": "stolen"})
    truths = (True, 3, 2.0, 2.5, "yes")
    with fleet.server.context.retraining.proposals._database.write() as connection:
        for place, board in enumerate(boards):
            rows = tuple(LabelledRow((float(place), None), truth, 0) for truth in truths)
            message = FeedbackRows(board.id, 1, 1, "digits", 1, DIGEST, 1000, rows, ("a", "b"))
            save_feedback(connection, message, 2000)
        other = FeedbackRows("pi-1", 1, 2, "digits", 2, DIGEST, 1000, rows, ("a", "c"))
        save_feedback(connection, other, 2000)
        found = gather_rows(connection, "digits", ("a", "b"), "kind", 1000)
    lines = found.csv.decode().splitlines()
    assert lines[0] == "a,b,kind"
    assert sorted(lines[1:6]) == ["0.0,,2", "0.0,,2.5", "0.0,,3", "0.0,,true", "0.0,,yes"]
    assert (found.rows, found.devices, found.left_out) == (10, 2, 10)
    assert (found.oldest, found.newest) == (1000, 1000)
