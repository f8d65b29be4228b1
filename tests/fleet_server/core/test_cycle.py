"""Every arrow of the cycle is found in the log, in its order, and a missing one is missed."""

from dataclasses import dataclass

from fleet_server.core.cycle import ARROWS, Turn, trace_cycle

TURN = Turn("digits", 1, 12, "pr-7")


@dataclass(frozen=True)
class Row:
    action: str
    subject: str
    detail: str = "{}"


def log() -> list[Row]:
    rows = [
        Row("version_registered", "digits@1"),
        Row("bundle_signed", "digits/1/onnx-fp32"),
        Row("decided_start", "ro-1", '{"model":"digits","version":1}'),
        Row("decided_start", "ro-2", '{"model":"digits","version":12}'),
        Row("decided_succeed", "ro-1", '{"model":"digits","version":1}'),
    ]
    return rows + [Row(arrow.action, "pr-7") for arrow in ARROWS[4:]]


def test_each_arrow_has_its_row() -> None:
    traced = trace_cycle(TURN, [Row("server_started", "x"), *log()])
    assert [row.action for _, row in traced if row is not None] == [arrow.action for arrow in ARROWS]
    assert [row.subject for _, row in traced if row is not None][2] == "ro-1"


def test_a_missing_arrow_is_missed() -> None:
    for place in (0, 1, 2, 4, 5, 6, 7, 8, 9):
        rows = log()
        del rows[place]
        assert any(row is None for _, row in trace_cycle(TURN, rows)), place
    assert trace_cycle(Turn("wine", 1, 12, "pr-7"), log())[0][1] is None
