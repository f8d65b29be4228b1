"""What bundles cost on real boards, as devices measured while proving them."""

from sqlalchemy import Connection, delete, insert, select

from edge_agent.contract.messages import Proof
from fleet_server.store.schema import proofs


def save_proof(connection: Connection, device: str, profile: str, proof: Proof, at: int, *, simulated: bool) -> None:
    """Save a device's newest proof of a bundle."""
    connection.execute(delete(proofs).where(proofs.c.device == device, proofs.c.digest == proof.digest))
    connection.execute(
        insert(proofs).values(
            device=device,
            digest=proof.digest,
            profile=profile,
            simulated=simulated,
            latency_p50_us=proof.latency_p50_us,
            memory_mb=proof.memory_mb,
            at=at,
        )
    )


def board_latencies(connection: Connection, digests: list[str]) -> dict[tuple[str, str], list[float]]:
    """Return latencies of one row in µs by (profile, digest), of real boards alone."""
    found: dict[tuple[str, str], list[float]] = {}
    rows = connection.execute(
        select(proofs.c.profile, proofs.c.digest, proofs.c.latency_p50_us).where(
            proofs.c.digest.in_(digests), proofs.c.simulated.is_(False)
        )
    )
    for profile, digest, latency in rows:
        found.setdefault((profile, digest), []).append(latency)
    return found
