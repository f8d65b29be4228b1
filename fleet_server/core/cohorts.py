"""Cohorts: which devices may read the same chunks, and what has to lie on a cohort's topics.

House rules: a cohort is the devices of one profile, so that one board's credentials never read what another class of
board gets, and an artifact is sent once for all devices of a class. What is no longer wanted stays for a while, since
a device may come back in the middle of a download.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from edge_agent.contract.topics import check_digest, check_name

KEEP_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, order=True)
class Shipment:
    """One bundle (by its digest) on the topics of one cohort."""

    cohort: str
    bundle: str

    def __post_init__(self) -> None:
        check_name(self.cohort)
        check_digest(self.bundle)


def choose_cohort(profile: str) -> str:
    """Return the cohort of a device with this profile.

    Raises:
        ValueError: the profile's name is none.
    """
    return check_name(profile)


def plan_shipments(wanted: Iterable[Shipment], shipped: Collection[Shipment]) -> tuple[Shipment, ...]:
    """Return what must be published before desired documents may name it: each once, in the order wanted."""
    return tuple(shipment for shipment in dict.fromkeys(wanted) if shipment not in shipped)


def plan_clearing(
    shipped: Mapping[Shipment, float], wanted: Collection[Shipment], now: float, keep_s: float = KEEP_S
) -> tuple[Shipment, ...]:
    """Return what may be cleared: shipped, wanted by no device, and last needed `keep_s` seconds ago or earlier.

    `shipped` maps a shipment to the time (epoch seconds) when a device last needed it.
    """
    return tuple(
        sorted(
            shipment
            for shipment, last_needed in shipped.items()
            if shipment not in wanted and now - last_needed >= keep_s
        )
    )
