"""Whatever is done to a log, the first row that is not as it was is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.core.audit_chain import (
    GENESIS,
    AuditRow,
    Checkpoint,
    hash_row,
    is_checkpoint_due,
    judge_chain,
    write_detail,
)

Log = list[AuditRow]


def grow(rows: Log, count: int, word: str = "kept") -> Log:
    """The log with rows added as the server adds them."""
    grown = list(rows)
    while len(grown) < count:
        n, before = len(grown) + 1, grown[-1].hash if grown else GENESIS
        content = (n, 1000 + n, "anna", "device_labelled", f"pi-{n}", write_detail({"word": word}))
        grown.append(AuditRow(*content, hash_row(before, *content)))
    return grown


WHOLE = grow([], 10)
CHECKPOINTS = [Checkpoint(0, GENESIS, 0), *(Checkpoint(n, WHOLE[n - 1].hash, n) for n in (3, 6, 9))]


def found(rows: Log) -> int | None:
    verdict = judge_chain(rows, CHECKPOINTS)
    assert verdict.whole == (verdict.bad_row is None)
    return verdict.bad_row


def test_a_whole_log_is_whole_and_says_how_far_it_is_proven() -> None:
    verdict = judge_chain(WHOLE, CHECKPOINTS)
    assert (verdict.whole, verdict.rows, verdict.proven) == (True, 10, 9)
    assert judge_chain([], []).whole


@pytest.mark.parametrize("n", range(1, 11))
@pytest.mark.parametrize(
    "change", [{"at": 1}, {"actor": "eve"}, {"action": "x"}, {"subject": "pi-0"}, {"detail": "{}"}, {"hash": "0" * 64}]
)
def test_a_changed_row_is_named(n: int, change: dict[str, str | int]) -> None:
    assert found([replace(row, **change) if row.n == n else row for row in WHOLE]) == n  # type: ignore[arg-type] # a table's values


@pytest.mark.parametrize("n", range(1, 10))
def test_a_deleted_row_is_named(n: int) -> None:
    assert found([row for row in WHOLE if row.n != n]) == n
    # With the later rows moved up to close the gap, their hashes no longer follow.
    assert found([replace(row, n=row.n - (row.n > n)) for row in WHOLE if row.n != n]) == n


@pytest.mark.parametrize("n", range(1, 11))
def test_an_inserted_row_is_named(n: int) -> None:
    strange = replace(WHOLE[n - 1], actor="eve")
    moved = [replace(row, n=row.n + 1) for row in WHOLE[n - 1 :]]
    assert found([*WHOLE[: n - 1], strange, *moved]) == n
    assert found([*WHOLE[:n], WHOLE[n - 1], *WHOLE[n:]]) == n


@pytest.mark.parametrize("n", range(1, 10))
def test_swapped_rows_are_named(n: int) -> None:
    one, two = WHOLE[n - 1], WHOLE[n]
    assert found([*WHOLE[: n - 1], replace(two, n=one.n), replace(one, n=two.n), *WHOLE[n + 1 :]]) == n


@pytest.mark.parametrize("left", range(9))
def test_a_cut_tail_is_named(left: int) -> None:
    assert found(WHOLE[:left]) == left + 1


@pytest.mark.parametrize("left", range(9))
def test_a_cut_tail_that_grew_again_is_found_between_two_checkpoints(left: int) -> None:
    """Every hash follows from the one before: only the checkpoints know better, to within their distance."""
    forged = grow(WHOLE[:left], 10, "forged")
    bad = found(forged)
    assert bad is not None
    assert bad == left // 3 * 3 + 1
    assert bad <= left + 1 <= bad + 2


def test_rows_after_the_last_checkpoint_can_be_cut_and_the_verdict_says_so() -> None:
    verdict = judge_chain(WHOLE[:9], CHECKPOINTS)
    assert (verdict.whole, verdict.rows, verdict.proven) == (True, 9, 9)


def test_of_two_checkpoints_of_one_row_the_older_counts() -> None:
    forged = grow(WHOLE[:5], 10, "forged")
    later = Checkpoint(9, forged[8].hash, 99)
    assert judge_chain(forged, [*CHECKPOINTS[:1], CHECKPOINTS[3], later]).bad_row == 1


def test_content_does_not_run_over_the_borders_of_fields() -> None:
    assert hash_row(GENESIS, 1, 1, "a", "bc", "d", "{}") != hash_row(GENESIS, 1, 1, "ab", "c", "d", "{}")


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(), st.none(), st.booleans())))
def test_the_same_detail_is_the_same_text(detail: dict[str, object]) -> None:
    assert write_detail(detail) == write_detail(dict(reversed(list(detail.items()))))


@pytest.mark.parametrize(
    ("newest", "now", "due"), [(5, 99, False), (5, 999, False), (6, 99, False), (6, 100, True), (8, 0, True)]
)
def test_when_a_checkpoint_is_due(newest: int, now: int, due: bool) -> None:
    assert is_checkpoint_due(Checkpoint(5, "", 0), newest, now, every_rows=3, every_ms=100) == due
