"""A sample of labelled rows, uniform over all that came, however many: a reservoir.

House rules: chance is the caller's. Algorithm R of J. S. Vitter, "Random Sampling with a Reservoir", ACM Transactions
on Mathematical Software 11(1), 1985.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

# What a sample holds at most: numbers of inputs, 128 KiB as float32, and within an envelope when compressed.
MAX_SAMPLE_VALUES = 32_768


class Reservoir(Generic[T]):
    """Holds at most `capacity` items, each of those offered with the same probability."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.seen = 0
        self.items: list[T] = []

    def offer(self, item: T, chance: float) -> None:
        """Offer one item; `chance` is uniform in [0, 1)."""
        self.seen += 1
        if len(self.items) < self.capacity:
            self.items.append(item)
        elif (place := int(chance * self.seen)) < self.capacity:
            self.items[place] = item


def sample_capacity(wanted_rows: int, columns: int) -> int:
    """Return how many rows a sample has at most: as many as wanted, within `MAX_SAMPLE_VALUES` inputs."""
    return min(wanted_rows, max(1, MAX_SAMPLE_VALUES // max(1, columns)))
