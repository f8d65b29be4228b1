"""From a `Load` command to served models and proofs. Imports numpy, so it is imported with the first model only."""

import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.contract.messages import AgentSettings, Proof
from edge_agent.contract.states import Reason
from edge_agent.core.control import LoadModel
from edge_agent.worker.bundle import BundleError
from edge_agent.worker.engine import Model, open_model
from edge_agent.worker.meter import Clock, Counted
from edge_agent.worker.proving import prove
from edge_agent.worker.serving import ServedModel

CLOCK = Clock(time.monotonic, lambda: time.time_ns() // 1_000_000)


def load_model(
    wanted: LoadModel,
    *,
    is_new: bool,
    threads: int,
    settings: AgentSettings,
    on_counted: Callable[[Counted], None],
    keeps_inputs: bool = False,
) -> tuple[ServedModel, Proof | None]:
    """Open one bundle and, where it `is_new` here, prove it; `keeps_inputs` of answered rows for their feedback.

    Raises:
        BundleError: with the reason.
    """
    started = time.perf_counter()
    try:
        model = open_model(Path(wanted.path), digest=wanted.digest, threshold=wanted.threshold, threads=threads)
        load_ms = (time.perf_counter() - started) * 1000
        _check_names(model, wanted)
        proof = prove(model, load_ms) if is_new else None
        return ServedModel(model, wanted.version, settings, CLOCK, on_counted, keeps_inputs=keeps_inputs), proof
    except MemoryError as error:
        raise BundleError(Reason.OUT_OF_MEMORY, f"loading {wanted.model}: no memory left") from error


def _check_names(model: Model, wanted: LoadModel) -> None:
    found = (model.manifest.model, model.manifest.variant)
    if found != (wanted.model, wanted.variant):
        detail = f"the manifest is of {found[0]} {found[1]}, wanted is {wanted.model} {wanted.variant}"
        raise BundleError(Reason.MANIFEST_MISMATCH, detail)
