"""What a full spool gives up."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.spool_rules import Priority, Spooled, choose_dropped

HELD = st.lists(st.tuples(st.sampled_from(Priority), st.integers(1, 100)), max_size=30).map(
    lambda pairs: [Spooled(number, priority, size) for number, (priority, size) in enumerate(pairs, start=1)]
)


@given(HELD, st.sampled_from(Priority), st.integers(1, 200), st.integers(0, 100))
def test_room_is_made_by_the_least_important_and_oldest(
    held: list[Spooled], priority: Priority, size: int, free: int
) -> None:
    incoming = Spooled(1000, priority, size)
    chosen = choose_dropped(held, incoming, free)
    if chosen is None:
        assert free + sum(item.size for item in held if item.priority <= priority) < size
        return
    assert free + sum(item.size for item in chosen) >= size
    assert all(item.priority <= priority for item in chosen)
    assert list(chosen) == sorted(held, key=lambda item: (item.priority, item.number))[: len(chosen)]
    if chosen:  # no more than needed
        assert free + sum(item.size for item in chosen[:-1]) < size
