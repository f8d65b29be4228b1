"""Device profiles: what a class of board can carry; the TOML files stand in `firmware_configs/profiles`."""

from dataclasses import dataclass
from enum import StrEnum

from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.contract.topics import check_name


class Prefer(StrEnum):
    """Which of the variants that fit a board is chosen."""

    LATENCY = "latency"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Profile:
    """A class of boards. Memory in MiB; `runtimes` in order of preference; limits are the agent's defaults there."""

    name: str
    description: str
    arch: str
    cores: int
    memory_mb: float
    runtimes: tuple[Runtime, ...]
    precisions: tuple[Precision, ...]
    worker_memory_mb: float
    max_model_mb: float
    prefer: Prefer = Prefer.LATENCY
    chunk_bytes: int = 131072

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.runtimes or not self.precisions:
            raise ValueError("a profile has one runtime and one precision at least")
        if not 0 < self.worker_memory_mb <= self.memory_mb:
            raise ValueError("worker_memory_mb is above 0 and within memory_mb")
