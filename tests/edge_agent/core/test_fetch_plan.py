"""Fetching in a window with lost, doubled and reordered chunks."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.fetch_plan import FetchPlan, TokenBucket


def names(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


def test_a_window_is_refilled_at_half() -> None:
    plan = FetchPlan(names(40), window=16)
    assert plan.refill(0.0) == tuple(names(16))
    assert plan.refill(0.0) == ()
    for digest in names(7):
        assert plan.arrived(digest)
    assert plan.refill(0.0) == ()  # nine are still open
    assert plan.arrived(names(8)[7])
    assert plan.refill(0.0) == tuple(names(24)[16:])


def test_a_chunk_that_does_not_come_is_asked_for_each_time_out() -> None:
    plan = FetchPlan(names(2), timeout_s=5.0)
    plan.refill(0.0)
    assert plan.overdue(4.9) == ()
    assert plan.next_due() == 5.0
    assert plan.overdue(5.0) == tuple(names(2))
    assert plan.overdue(5.0) == ()
    plan.arrived(names(1)[0])
    assert plan.overdue(10.0) == (names(2)[1],)


@given(st.data(), st.integers(0, 60), st.integers(1, 20))
def test_everything_comes_once_whatever_the_network_does(data: st.DataObject, count: int, window: int) -> None:
    plan = FetchPlan(names(count) + names(count), window=window, timeout_s=5.0)
    assert plan.total == count
    now, taken, retained = 0.0, [], set(names(count))
    for _ in range(50 * (count + 1)):
        if plan.missing == 0:
            break
        asked = list(plan.refill(now))
        assert len(plan.open) <= window
        now += 5.0
        asked += plan.overdue(now)
        arriving = data.draw(st.lists(st.sampled_from(asked), max_size=2 * len(asked))) if asked else []
        if asked and not arriving:
            arriving = [asked[0]]  # a network that never gives anything is another matter
        for digest in arriving:
            if plan.arrived(digest):
                assert digest in retained
                taken.append(digest)
    assert sorted(taken) == names(count)
    assert not plan.arrived(f"{count + 1:064x}")


def test_reconnecting_gives_open_chunks_their_time_again() -> None:
    plan = FetchPlan(names(3), timeout_s=5.0)
    plan.refill(0.0)
    assert plan.reconnected(100.0) == tuple(names(3))
    assert plan.overdue(104.0) == ()


def test_the_bucket_keeps_the_rate() -> None:
    bucket, asked, now = TokenBucket(10_000, 1000, 0.0), 0, 0.0
    while now < 60:
        chunks = bucket.chunks(now)
        assert chunks is not None
        bucket.spend(chunks)
        asked += chunks
        now += 0.37
    assert 590 <= asked <= 611  # 60 s of 10 chunks, and a burst of 10


def test_without_a_rate_there_is_no_limit() -> None:
    bucket = TokenBucket(0, 1000, 0.0)
    assert bucket.chunks(0.0) is None
    assert bucket.wait_s() == 0.0


def test_a_slow_rate_still_gets_whole_chunks() -> None:
    bucket = TokenBucket(100, 1000, 0.0)
    assert bucket.chunks(0.0) == 1
    bucket.spend(1)
    assert bucket.chunks(5.0) == 0
    assert bucket.wait_s() == 5.0
    assert bucket.chunks(10.0) == 1
