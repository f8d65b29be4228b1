"""Whether an order is one that this device may follow: what its director names, against what is released. Pure rules.

House rules: both repositories' metadata is verified before it comes here. Fail closed, with a reason of the contract
and a detail that names the target. Source: Uptane standard 2.1.0, 5.4.4.2 (full verification): the director's target
must be the image repository's in name, length and hash, for this device and its class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.contract import codec
from edge_agent.contract.messages import Desired, DesiredBundle, TrustHeld
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import ANY_HARDWARE, DirectorNote, OrderNote, ReleaseNote, read_note, target_name


@dataclass(frozen=True, slots=True)
class Named:
    """A target as verified metadata names it; `sha256` is empty where the metadata gives another hash alone."""

    name: str
    length: int
    sha256: str
    custom: Any


@dataclass(frozen=True, slots=True)
class Order:
    """What the director's verified targets say: their version, the note beside them, and each target."""

    seq: int
    note: DirectorNote
    targets: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order is not followed."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a verification of both packs found.

    `held` are the versions held after it, with the refusal where there is one; `desired` is absent then, and where a
    pack is missing yet. `renumbered` says that the director's keys were replaced, so that its versions may begin anew.
    Time and peak memory (MiB) are of the process that verified.
    """

    held: TrustHeld
    desired: Desired | None = None
    renumbered: bool = False
    took_ms: int = 0
    peak_mb: float = 0.0


def read_director_note(plain: Any) -> DirectorNote | Refusal:
    """Return the director's note, or why it is none."""
    try:
        return read_note(DirectorNote, plain)
    except codec.MalformedError as error:
        return Refusal(Reason.MALFORMED, f"the director's note: {error}")


def judge_order(order: Order, released: Mapping[str, Named], device: str, profile: str) -> Desired | Refusal:
    """Return what this device shall run, or why it does not follow.

    `released` holds what the image repository lists of the names in the order.
    """
    if order.note.device != device:
        detail = f"the order is for {order.note.device!r}, this device is {device!r}"
        return Refusal(Reason.WRONG_DEVICE, detail)
    bundles = []
    for target in order.targets:
        match judge_target(target, released.get(target.name), profile):
            case Refusal() as refusal:
                return refusal
            case bundle:
                bundles.append(bundle)
    note = order.note
    try:
        return Desired(device, order.seq, note.ts, tuple(bundles), note.soak, note.settings)
    except ValueError as error:
        return Refusal(Reason.MALFORMED, f"order {order.seq}: {error}")


def judge_target(ordered: Named, released: Named | None, profile: str) -> DesiredBundle | Refusal:
    """Return one bundle of an order, or why it is refused."""
    name = ordered.name
    try:
        order = read_note(OrderNote, ordered.custom)
        release = None if released is None else read_note(ReleaseNote, released.custom)
    except codec.MalformedError as error:
        return Refusal(Reason.MALFORMED, f"{name[:200]!r}: {error}")
    if name not in {target_name(order.model, order.version, order.variant, auto=auto) for auto in (False, True)}:
        detail = f"{name[:200]!r} is not the name of {order.model} {order.version} {order.variant}"
        return Refusal(Reason.INCONSISTENT, detail)
    if order.hardware != profile:
        return Refusal(Reason.WRONG_HARDWARE, f"{name} is ordered for {order.hardware}, this board is {profile}")
    if released is None or release is None:
        detail = f"{name} is ordered, but not released: it was never signed by a release key, or was yanked"
        return Refusal(Reason.NOT_RELEASED, detail)
    if difference := _difference(ordered, order, released, release):
        return Refusal(Reason.INCONSISTENT, f"{name}: director and image repository differ in {difference}")
    if not {profile, ANY_HARDWARE} & set(release.hardware):
        detail = f"{name} is released for {', '.join(release.hardware) or 'no board'}; this board is {profile}"
        return Refusal(Reason.WRONG_HARDWARE, detail)
    return DesiredBundle(
        model=order.model,
        version=order.version,
        variant=order.variant,
        digest=ordered.sha256,
        parcel=order.parcel,
        cohort=order.cohort,
        size=order.size,
        runtime=order.runtime,
        memory_mb=order.memory_mb,
        threshold=order.threshold,
    )


def _difference(ordered: Named, order: OrderNote, released: Named, release: ReleaseNote) -> str:
    """Name the first thing on which the repositories do not agree; empty where they do."""
    pairs = {
        "length": (ordered.length, released.length),
        "sha256": (ordered.sha256 or "none", released.sha256),
        "model": (order.model, release.model),
        "version": (order.version, release.version),
        "variant": (order.variant, release.variant),
        "runtime": (order.runtime, release.runtime),
    }
    return next((what for what, (one, other) in pairs.items() if one != other), "")
