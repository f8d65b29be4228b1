"""`edgeloop demo`: the whole loop on simulated devices; what it does is in `fleet_server.cli.demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fleet_server.cli.failures import CommandError, Exit


def demo(
    *,
    keep: Annotated[bool, Parameter(negative="")] = False,
    folder: Path | None = None,
    port: int = 0,
    broker: str = "auto",
) -> int:
    """Run the demonstration: broker, server and four agents, from training to drift.

    Parameters
    ----------
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
        from fleet_server.cli.demo import run
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the demonstration cannot run: {error.name} is not installed",
            "it trains, serves and infers, so it needs every part",
            "pip install 'edgeloop[all]'",
            Exit.CONFIGURATION,
        ) from error
    return run(keep=keep, folder=folder, port=port, broker=broker)
