"""Whether a verified desired document is for this device, and how it is begun: pure rules.

House rules: refuse before anything is tried, name the reason, and give the figures in the detail.
"""

from dataclasses import dataclass

from edge_agent.contract.messages import Capabilities, Desired
from edge_agent.contract.states import Reason, Result
from edge_agent.core.trust_rules import Finding
from edge_agent.core.update_machine import Move, Update, Verdict, digests, offer, renumber

MIB = 1024 * 1024
# Chunks and the files made of them lie side by side until the update ends.
_DISK_FACTOR = 2
_DISK_MARGIN_MB = 16.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A document, and what this device knows when it is offered.

    `good` is the last committed set, `staged` the digests of bundles already verified on disk, `worker_memory_mb` the
    limit of the worker.
    """

    desired: Desired
    capabilities: Capabilities
    worker_memory_mb: float
    good: Desired | None
    staged: frozenset[str]


def judge_document(desired: Desired, device: str, highest_seq: int, failed: Desired | None) -> Verdict | None:
    """Return why a verified document must not be taken in at all, or `None`.

    A document with the sequence number of the one that failed, and the same bundles, would loop.
    """
    if desired.device != device:
        return _refused(Reason.WRONG_DEVICE, f"the document is for {desired.device!r}, this device is {device!r}")
    if failed is not None and desired.seq == failed.seq and digests(desired) == digests(failed):
        return _refused(Reason.LOOP_BREAKER, f"document {desired.seq} has failed here already; send a newer one")
    if desired.seq <= highest_seq:
        return _refused(Reason.STALE, f"document {desired.seq} is not newer than {highest_seq}")
    return None


def admit(update: Update, finding: Finding, device: str) -> Update | Verdict | None:
    """Return the update with the order that the verifier found waiting in it, or why it is not taken in.

    `None` is nothing new: no order yet, or the one that is known, verified again. Where the director's keys were
    replaced its numbers may begin anew.
    """
    desired, held = finding.desired, finding.held
    if desired is None:
        return None if held.refused is None else _refused(held.refused, held.detail)
    known = renumber(update) if finding.renumbered and desired.seq < update.highest_seq else update
    if desired.seq == known.highest_seq:
        return None
    verdict = judge_document(desired, device, known.highest_seq, known.failed)
    return offer(known, desired) if verdict is None else verdict


def judge_offer(offer: Offer) -> tuple[Move, Verdict | None]:
    """Decide how to begin: `ACCEPT`, `ADOPT` (same bundles, other settings), or `REFUSE` with its verdict."""
    if offer.good is not None and _same_bundles(offer.desired, offer.good):
        return Move.ADOPT, None
    verdict = _judge_runtimes(offer) or _judge_memory(offer) or _judge_disk(offer)
    return (Move.ACCEPT, None) if verdict is None else (Move.REFUSE, verdict)


def _same_bundles(a: Desired, b: Desired) -> bool:
    """Whether only settings or thresholds differ: the same digests under the same names and numbers."""
    return {(x.model, x.version, x.digest) for x in a.bundles} == {(x.model, x.version, x.digest) for x in b.bundles}


def _judge_runtimes(offer: Offer) -> Verdict | None:
    for bundle in offer.desired.bundles:
        if bundle.runtime not in offer.capabilities.runtimes:
            present = ", ".join(sorted(offer.capabilities.runtimes)) or "none"
            detail = f"{bundle.model} {bundle.version} needs {bundle.runtime}; present: {present}"
            return _refused(Reason.RUNTIME_MISSING, detail, bundle.model)
    return None


def _judge_memory(offer: Offer) -> Verdict | None:
    needed = sum(bundle.memory_mb for bundle in offer.desired.bundles)
    free = offer.capabilities.memory_free_mb
    limit = min(free, offer.worker_memory_mb)
    if needed <= limit:
        return None
    detail = f"the set needs {needed:.0f} MiB; free {free:.0f} MiB, worker's limit {offer.worker_memory_mb:.0f} MiB"
    return _refused(Reason.LOW_MEMORY, detail)


def _judge_disk(offer: Offer) -> Verdict | None:
    new = sum(bundle.size for bundle in offer.desired.bundles if bundle.digest not in offer.staged)
    if new == 0:
        return None
    needed, free = _DISK_FACTOR * new / MIB + _DISK_MARGIN_MB, offer.capabilities.disk_free_mb
    if needed <= free:
        return None
    return _refused(Reason.LOW_DISK, f"fetching and unpacking need {needed:.0f} MiB of disk; free {free:.0f} MiB")


def _refused(reason: Reason, detail: str, model: str | None = None) -> Verdict:
    return Verdict(Result.REFUSED, reason, detail, model)
