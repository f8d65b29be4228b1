"""The parity certificate of a variant: what each release of its runtime made of the held-out and the hard rows.

House rules: the release that the variant was built with comes first; the others run in environments of their own. A
release on which the variant fails stands there with the reason, so that no device with it is offered the variant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.contract.manifest import Proof
from edge_agent.contract.runtimes import DISTRIBUTIONS
from trainer.core.releases import Release
from trainer.errors import UnbuildableError
from trainer.stages.matrix import Replay, replay
from trainer.stages.variants import Proven, Proving, judge


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proofs, and the releases on which nothing could be proven here, each with the reason."""

    proofs: tuple[Proof, ...]
    unproven: tuple[str, ...] = ()


def certify(folder: Path, proven: Proven, proving: Proving, releases: Sequence[Release]) -> Certificate:
    """Run a proven variant, whose file is in `folder`, on other releases of its runtime."""
    plan, own = proven.plan, _own_proof(proven)
    others = [item for item in releases if (item.distribution, item.version) != (own.package, own.version)]
    path = folder / plan.model_file
    replays = list(replay(path, plan.runtime, proving.x, plan.options, others))
    return Certificate(
        (own, *(_judge(item, proven, proving) for item in replays if not item.unproven)),
        tuple(item.unproven for item in replays if item.unproven),
    )


def _own_proof(proven: Proven) -> Proof:
    return Proof(
        package=DISTRIBUTIONS[proven.plan.runtime][0],
        version=proven.run.runtime_version,
        rows=proven.difference.rows,
        hard_rows=proven.hard_difference.rows,
        max_abs_diff=proven.difference.max_abs_diff,
        worst_excess=max(proven.difference.worst_excess, proven.hard_difference.worst_excess),
    )


def _judge(item: Replay, proven: Proven, proving: Proving) -> Proof:
    """Judge what a release answered as if the variant had been built with it."""
    name, version = item.release.distribution, item.release.version
    if item.run is None:
        return Proof(name, version, reason=item.failure)
    try:
        both = proving.compare(item.run.scores)
    except UnbuildableError as error:
        return Proof(name, version, reason=str(error))
    _, quality = proving.rehearsal.measure(proving.divide(item.run.scores)[0])
    return Proof(
        package=name,
        version=version,
        rows=both[0].rows,
        hard_rows=both[1].rows,
        max_abs_diff=both[0].max_abs_diff,
        worst_excess=max(part.worst_excess for part in both),
        reason=judge(proven.plan, proving, both, quality),
    )
