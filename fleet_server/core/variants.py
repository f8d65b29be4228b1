"""Which variant of a version a device is offered.

House rules: first what fits (built, signed for it, runtime there, its release neither denied nor one on which the
variant failed, precision and runtime allowed by the profile, memory, disk, size), then what is best by the profile's
preference. A variant that does not fit is listed with its reason. Measurements of simulated devices never come in here:
they are not a board's. A time that is no time (0, or less) is not known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edge_agent.contract.manifest import Manifest, Precision, Runtime
from edge_agent.contract.messages import Capabilities
from edge_agent.contract.profile import Prefer, Profile
from edge_agent.contract.runtimes import Denial, judge_board

# A variant of lower precision must be clearly faster: on a busy machine, runs of one binary differ by half.
EQUAL_LATENCY = 2.0
# And one that is hardly larger may be much faster: the same weights weigh about the same on every runtime.
EQUAL_SIZE = 1.1
_MIB = 2**20
_PRECISION_ORDER = (Precision.FP32, Precision.FP16, Precision.INT16, Precision.INT8)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One variant of the version: its manifest where it was built, else the reason why it was not.

    `packed_size` is what travels, in bytes; `withheld` says why a built one may not go to this device at all.
    """

    variant: str
    runtime: Runtime
    precision: Precision
    digest: str | None = None
    reason: str | None = None
    manifest: Manifest | None = None
    packed_size: int = 0
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class MeasuredCost:
    """One row's latency in µs of a bundle, as the median over `boards` real boards of a profile while proving."""

    profile: str
    digest: str
    latency_p50_us: float
    boards: int = 1


@dataclass(frozen=True, slots=True)
class Rejection:
    """A variant that does not fit a device, and why."""

    variant: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen variant, or none; the reason in words; and all that did not fit."""

    candidate: Candidate | None
    reason: str
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fitting:
    candidate: Candidate
    digest: str
    manifest: Manifest


def choose_variant(
    capabilities: Capabilities,
    profile: Profile | None,
    candidates: Sequence[Candidate],
    measured: Sequence[MeasuredCost] = (),
    denials: Sequence[Denial] = (),
) -> Choice:
    """Choose among a version's variants for one device.

    By `latency`: those within twice the least latency are as fast as any; among them an exact one before a lossy one,
    then fp32 before fp16 before int16 before int8, then the faster. By `size`: of the smallest on the wire and those
    within a tenth of it, chosen the same way. Without a profile: latency, and only the device's own limits.
    """
    fitting: list[_Fitting] = []
    rejected: list[Rejection] = []
    for candidate in candidates:
        if candidate.digest is None or candidate.manifest is None:
            rejected.append(Rejection(candidate.variant, f"not built: {candidate.reason or 'no bundle'}"))
        elif candidate.withheld:
            rejected.append(Rejection(candidate.variant, candidate.withheld))
        elif reason := _misfit(capabilities, profile, candidate.manifest, denials):
            rejected.append(Rejection(candidate.variant, reason))
        else:
            fitting.append(_Fitting(candidate, candidate.digest, candidate.manifest))
    if not fitting:
        why = "; ".join(f"{item.variant}: {item.reason}" for item in rejected) or "the version has no variants"
        return Choice(None, f"no variant fits: {why}", tuple(rejected))
    latencies = _latencies(capabilities.profile, fitting, measured)
    if profile is not None and profile.prefer is Prefer.SIZE:
        least = min(item.candidate.packed_size for item in fitting)
        small = [item for item in fitting if item.candidate.packed_size <= least * EQUAL_SIZE]
        best = min(small, key=lambda item: (_rank(item), latencies[item.digest], item.candidate.variant))
        reason = f"fastest of the smallest of {len(fitting)} that fit: {best.candidate.packed_size} bytes packed"
    else:
        best, reason = _choose_fastest(fitting, profile, latencies)
    return Choice(best.candidate, reason, tuple(rejected))


def is_lossy(manifest: Manifest) -> bool:
    """Return whether the variant gives something up by design: nodes of its trees, or bits of its weights."""
    return bool(manifest.form) or manifest.precision is not Precision.FP32


def _misfit(
    capabilities: Capabilities, profile: Profile | None, manifest: Manifest, denials: Sequence[Denial]
) -> str | None:
    """Return why a variant does not fit the device, or None."""
    needs = manifest.requires
    if manifest.runtime not in capabilities.runtimes:
        there = ", ".join(sorted(capabilities.runtimes)) or "none"
        return f"runtime {manifest.runtime} is not on the device (there: {there})"
    version = capabilities.runtimes[manifest.runtime]
    if denied := judge_board(denials, manifest.runtime, version, capabilities.arch, capabilities.profile):
        return denied
    if failed := _failure(manifest, version):
        return failed
    if needs.memory_mb > capabilities.memory_free_mb:
        return f"needs {needs.memory_mb:.0f} MiB of memory, {capabilities.memory_free_mb:.0f} MiB are free"
    if needs.disk_mb > capabilities.disk_free_mb:
        return f"needs {needs.disk_mb:.0f} MiB of disk, {capabilities.disk_free_mb:.0f} MiB are free"
    if profile is None:
        return None
    if manifest.runtime not in profile.runtimes:
        return f"profile {profile.name} does not allow runtime {manifest.runtime}"
    if manifest.precision not in profile.precisions:
        return f"profile {profile.name} does not allow precision {manifest.precision}"
    if needs.memory_mb > profile.worker_memory_mb:
        return (
            f"needs {needs.memory_mb:.0f} MiB, profile {profile.name} gives the worker {profile.worker_memory_mb:.0f}"
        )
    if manifest.cost.size > profile.max_model_mb * _MIB:
        size_mb = manifest.cost.size / _MIB
        return f"is {size_mb:.1f} MiB, profile {profile.name} carries {profile.max_model_mb:.1f} MiB at most"
    return None


def _failure(manifest: Manifest, version: str) -> str | None:
    """Return how the variant failed on a release of its runtime while it was proven, or None.

    A device does not report the library's name, so a proof of any library of that runtime counts.
    """
    for proof in manifest.certificate:
        if proof.version == version and proof.reason is not None:
            return f"failed its proof on {proof.package} {proof.version}: {proof.reason}"
    return None


def _latencies(profile: str, fitting: Sequence[_Fitting], measured: Sequence[MeasuredCost]) -> dict[str, float]:
    """Return one row's latency in µs by digest, all on one scale; infinite where it is not known.

    A board's microseconds are not a build machine's. Where only some variants were measured on this class of board,
    the others' figures from the build are scaled by the median ratio of those known on both.
    """
    boards = {
        cost.digest: cost.latency_p50_us
        for cost in measured
        if cost.profile == profile and cost.boards > 0 and cost.latency_p50_us > 0
    }
    said = {item.digest: item.manifest.cost.latency_p50_us for item in fitting}
    built = {digest: latency if latency > 0 else math.inf for digest, latency in said.items()}
    ratios = [boards[digest] / built[digest] for digest in built if digest in boards and built[digest] < math.inf]
    scale = median(ratios) if ratios else 1.0
    return {digest: boards.get(digest, latency * scale) for digest, latency in built.items()}


def _choose_fastest(
    fitting: Sequence[_Fitting], profile: Profile | None, latencies: dict[str, float]
) -> tuple[_Fitting, str]:
    least = min(latencies[item.digest] for item in fitting)
    equal = [item for item in fitting if latencies[item.digest] <= least * EQUAL_LATENCY]
    order = {runtime: place for place, runtime in enumerate(profile.runtimes)} if profile is not None else {}

    def preference(item: _Fitting) -> tuple[tuple[bool, int], float, int, str]:
        place = order.get(item.manifest.runtime, len(order))
        return _rank(item), latencies[item.digest], place, item.candidate.variant

    best = min(equal, key=preference)
    of = f"least latency of {len(fitting)} that fit" if len(equal) == 1 else f"best of {len(equal)} as fast as any"
    how = f"{best.manifest.precision}, {best.manifest.form}" if best.manifest.form else best.manifest.precision
    return best, f"{of}: {_show_latency(latencies[best.digest])}, {how}"


def _show_latency(latency_us: float) -> str:
    return f"about {latency_us:.1f} µs a row" if latency_us < math.inf else "latency not known"


def _rank(item: _Fitting) -> tuple[bool, int]:
    """Return the place among those that are as good by the profile's preference: what loses nothing comes first."""
    return is_lossy(item.manifest), _PRECISION_ORDER.index(item.manifest.precision)
