"""States of an update on a device, results, and the reasons that go with them.

A *refused* document was not for this device (hardware, memory, runtime, policy): nothing was tried. A *failed* update
was tried and did not work: the device restored what ran before. Values are on the wire: add to them, never change one.
"""

from enum import StrEnum


class UpdateState(StrEnum):
    """The work that an update still owes; see `edge_agent.core.update_machine` for the moves."""

    IDLE = "idle"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    STAGED = "staged"
    PROVING = "proving"
    SWITCHING = "switching"
    SOAKING = "soaking"
    COMMITTING = "committing"
    RESTORING = "restoring"
    REPORTING = "reporting"


class Result(StrEnum):
    """How an update ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why an update was refused or failed; `ok` goes with success alone."""

    OK = "ok"
    # Refused: nothing was tried.
    BAD_SIGNATURE = "bad_signature"
    MALFORMED = "malformed"
    WRONG_DEVICE = "wrong_device"
    STALE = "stale"
    EXPIRED = "expired"
    ROLLED_BACK = "rolled_back"
    INCONSISTENT = "inconsistent"
    NOT_RELEASED = "not_released"
    WRONG_HARDWARE = "wrong_hardware"
    OVERSIZE = "oversize"
    RUNTIME_MISSING = "runtime_missing"
    LOW_MEMORY = "low_memory"
    LOW_DISK = "low_disk"
    LOOP_BREAKER = "loop_breaker"
    # Failed: it was tried.
    FETCH_TIMEOUT = "fetch_timeout"
    DIGEST_MISMATCH = "digest_mismatch"
    MANIFEST_MISMATCH = "manifest_mismatch"
    DISK_FULL = "disk_full"
    LOAD_FAILED = "load_failed"
    GOLDEN_MISMATCH = "golden_mismatch"
    NON_FINITE_OUTPUT = "non_finite_output"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_CRASHED = "worker_crashed"
    WORKER_HUNG = "worker_hung"
    UNHEALTHY = "unhealthy"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"


REFUSALS = frozenset(
    {
        Reason.BAD_SIGNATURE,
        Reason.MALFORMED,
        Reason.WRONG_DEVICE,
        Reason.STALE,
        Reason.EXPIRED,
        Reason.ROLLED_BACK,
        Reason.INCONSISTENT,
        Reason.NOT_RELEASED,
        Reason.WRONG_HARDWARE,
        Reason.OVERSIZE,
        Reason.RUNTIME_MISSING,
        Reason.LOW_MEMORY,
        Reason.LOW_DISK,
        Reason.LOOP_BREAKER,
    }
)


class Presence(StrEnum):
    """What a device's retained status says; `lost` is its will."""

    READY = "ready"
    STOPPED = "stopped"
    LOST = "lost"


class EventCode(StrEnum):
    """Lifecycle events of a device."""

    BOOTED = "booted"
    UPDATE_STARTED = "update_started"
    UPDATE_SUCCEEDED = "update_succeeded"
    UPDATE_FAILED = "update_failed"
    UPDATE_REFUSED = "update_refused"
    WORKER_CRASHED = "worker_crashed"
    WORKER_HUNG = "worker_hung"
    WORKER_RESTARTED = "worker_restarted"
    MODEL_DISABLED = "model_disabled"
    SPOOL_DROPPED = "spool_dropped"
    JOURNAL_REBUILT = "journal_rebuilt"
