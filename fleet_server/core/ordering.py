"""Which of two messages of a device is the newer one: by counters that the device persists, never by its clock."""

from edge_agent.contract.messages import Status


def judge_status(last: Status | None, new: Status) -> bool:
    """Whether a status replaces the last one known.

    A later boot always does, an earlier one never. In the same boot a `lost` (the will) or a `stopped` does, and so
    does a `ready` after them: the device connected again without a restart.
    """
    return last is None or new.boot > last.boot or (new.boot == last.boot and new != last)


def judge_reported(last: tuple[int, int] | None, new: tuple[int, int]) -> bool:
    """Whether a report, by its (boot, seq), is newer than the last one known; an equal one is a repeat."""
    return last is None or new > last
