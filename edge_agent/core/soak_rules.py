"""When a new bundle set counts as healthy: the rule of `messages.Soak`, applied to the worker's beats."""

from dataclasses import dataclass

from edge_agent.contract.messages import Desired, Soak
from edge_agent.contract.states import Reason, Result
from edge_agent.core.control import ModelBeat
from edge_agent.core.update_machine import Verdict

MAX_SILENT_BEATS = 3.0


@dataclass(frozen=True, slots=True)
class Healthy:
    """The soak has succeeded."""

    detail: str


def judge_set(
    target: Desired,
    proven: frozenset[str],
    elapsed_s: float,
    beats: tuple[ModelBeat, ...] | None,
    silent_beats: float = 0.0,
) -> Healthy | Verdict | None:
    """Judge those models of a set that are new here (not in `proven`); without any beat yet, wait up to `max_s`.

    A worker that has been silent for longer than `MAX_SILENT_BEATS` beats may hang: nothing is concluded from what it
    said before. It speaks again, or it is found to hang and the update fails.
    """
    if beats is None and target.bundles and elapsed_s < target.soak.max_s:
        return None
    if beats is not None and silent_beats > MAX_SILENT_BEATS:
        return None
    new = {bundle.model for bundle in target.bundles if bundle.digest not in proven}
    return judge_soak(target.soak, elapsed_s, tuple(beat for beat in beats or () if beat.model in new))


def judge_soak(soak: Soak, elapsed_s: float, beats: tuple[ModelBeat, ...]) -> Healthy | Verdict | None:
    """Judge the set after `elapsed_s` seconds of serving, by the latest beat of each model; `None` means wait.

    Each model is judged by its own rows, so that a busy healthy model cannot hide a sick one. `infer_n` counts
    predicted rows, `err_n` those of them that raised or were not finite.
    """
    for beat in beats:
        if (failed := _judge_early(soak, beat)) is not None:
            return failed
    if elapsed_s < soak.min_s:
        return None
    rows = min((_rows(beat) for beat in beats), default=soak.min_rows)
    if rows < soak.min_rows and elapsed_s < soak.max_s:
        return None
    return Healthy(f"{sum(_rows(beat) for beat in beats)} rows in {elapsed_s:.0f} s")


def _judge_early(soak: Soak, beat: ModelBeat) -> Verdict | None:
    """Fail at once when it cannot come right: more errors than the ratio of the rows so far or of `min_rows`."""
    allowed = soak.max_error_ratio * max(_rows(beat), soak.min_rows)
    return _sick(soak, beat) if beat.err_n > allowed else None


def _rows(beat: ModelBeat) -> int:
    """Rows that came to the model: `infer_n` includes those in error; never fewer than the errors."""
    return max(beat.infer_n, beat.err_n)


def _sick(soak: Soak, beat: ModelBeat) -> Verdict:
    """Errors of a model that had passed its golden vectors are rows whose scores were not finite, or raised."""
    rows = _rows(beat)
    detail = (
        f"{beat.model} {beat.version}: {beat.err_n} of {rows} rows in error (not finite, or raised); "
        f"allowed is a share of {soak.max_error_ratio:g}"
    )
    reason = Reason.UNHEALTHY if soak.max_error_ratio > 0 else Reason.NON_FINITE_OUTPUT
    return Verdict(Result.FAILED, reason, detail, beat.model)
