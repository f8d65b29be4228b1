"""`edgeloop demo`: the whole loop on simulated devices; what it does is in `fleet_server.cli.demo`."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fleet_server.cli.failures import CommandError, Exit


def demo(
    *,
    retraining: Annotated[bool, Parameter(negative="")] = False,
    data: Path | None = None,
    keep: Annotated[bool, Parameter(negative="")] = False,
    folder: Path | None = None,
    port: int = 0,
    broker: str = "auto",
) -> int:
    """Run the demonstration: broker, server and four agents, from training to drift.

    Parameters
    ----------
    retraining
        Show the second half instead: what moves in the field is noticed, learnt, proven and promoted, unattended.
    data
        For --retraining, the folder of the Occupancy data; $EDGELOOP_OCCUPANCY where it is left out, and digits that
        scikit-learn carries where neither is there.
    keep
        Keep it running at the end, to look around.
    folder
        Where everything lives; a temporary folder, removed after a run that held, where it is left out.
    port
        The port of its server; 0 is any free one.
    broker
        auto, mosquitto or iotcore.
    """
    try:
        from fleet_server.cli.demo import run, run_retraining
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the demonstration cannot run: {error.name} is not installed",
            "it trains, serves and infers, so it needs every part",
            "pip install 'edgeloop[all]'",
            Exit.CONFIGURATION,
        ) from error
    if retraining:
        place = data or (Path(os.environ["EDGELOOP_OCCUPANCY"]) if os.environ.get("EDGELOOP_OCCUPANCY") else None)
        return run_retraining(place, keep=keep, folder=folder, port=port, broker=broker)
    return run(keep=keep, folder=folder, port=port, broker=broker)
