"""What the evidence of a rollout says."""

from fastapi import APIRouter

from fleet_server.api.answers import Answer
from fleet_server.api.askers import Reader
from fleet_server.api.context import Context
from fleet_server.services.clock import iso

router = APIRouter(prefix="/api/v1/rollouts", tags=["rollouts"])


class ArmAnswer(Answer):
    """One arm: its devices, and how many of them went bad since the first offer."""

    devices: int
    bad: int


class MetricAnswer(Answer):
    """One metric: mean changes since before, their difference, and the limit that rolls back (null: not judged yet)."""

    metric: str
    dry_run: bool
    margin: float
    canary_devices: int
    stable_devices: int
    canary_mean: float | None
    stable_mean: float | None
    difference: float | None
    limit: float | None
    p_value: float | None
    level: float
    worse: bool
    sentence: str


class PromotionAnswer(Answer):
    """The sequential test of promotion, with its bounds."""

    devices: int
    bad: int
    log_ratio: float
    promote_below: float
    reject_above: float
    clean_needed: int
    state: str
    decides: bool


class ExplanationShown(Answer):
    """The evidence of a rollout as numbers and one sentence; what it waits for; what holds offers back."""

    id: str
    at: str
    state: str
    phase: int
    verdict: str
    sentence: str
    waits_for: str
    held_back: str
    look: int
    next_look_at: str | None
    canary: ArmAnswer
    stable: ArmAnswer
    soaking: int
    silent: int
    e_value: float
    e_limit: float
    metrics: list[MetricAnswer]
    promotion: PromotionAnswer | None


@router.get("/{rollout}/explain")
def explain_rollout(rollout: str, context: Context, _asker: Reader) -> ExplanationShown:
    """Explain where a rollout stands: both arms, each metric against stable, the tests, and one sentence."""
    explained = context.explanations.explain(rollout)
    made = explained.explanation
    return ExplanationShown(
        id=rollout,
        at=iso(explained.at),
        state=made.state,
        phase=made.phase,
        verdict=made.verdict,
        sentence=made.sentence,
        waits_for=made.waits_for,
        held_back=made.held_back,
        look=made.look,
        next_look_at=None if made.next_look_at is None else iso(int(made.next_look_at * 1000)),
        canary=ArmAnswer.model_validate(made.canary),
        stable=ArmAnswer.model_validate(made.stable),
        soaking=made.soaking,
        silent=made.silent,
        e_value=made.e_value,
        e_limit=made.e_limit,
        metrics=[MetricAnswer.model_validate(item) for item in made.metrics],
        promotion=None if made.promotion is None else PromotionAnswer.model_validate(made.promotion),
    )
