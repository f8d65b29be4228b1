"""The demonstration: a small fleet on this machine goes through the whole cycle, and every promise is checked."""

import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fleet_server.cli.demo.show import Show, StepFailedError, table
from fleet_server.cli.demo.stage import Agent, Server, StageError
from fleet_server.cli.demo.steps import STEPS

BOTH = ("onnx", "tflite")
CAST = (
    ("pi4-north", "pi4", ("onnx",)),
    ("pi4-south", "pi4", ("onnx",)),
    ("zero-north", "pi-zero2w", BOTH),
    ("pi3-south", "pi3", ("tflite",)),
)


def run(*, keep: bool = False, folder: Path | None = None, port: int = 0, broker: str = "auto") -> int:
    """Run the demonstration; returns 0 where every step held, else 1.

    With `keep` the fleet runs on until Ctrl-C. Everything lives below `folder`, by default a temporary one, which is
    removed after a run that held.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="edgeloop-demo-"))
    console = Console(highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        agents = {name: Agent(name, profile, place / name, runtimes) for name, profile, runtimes in CAST}
        task = progress.add_task("starting", total=len(STEPS))
        show = Show(place, console, progress, task, Server.at(place / "server", port, broker), agents)
        try:
            held = _play(show) and _close(show, keep)
        except KeyboardInterrupt:
            console.print("\nstopped by Ctrl-C")
            held = False
        finally:
            progress.stop()
            _strike(show)
    if held and folder is None:
        shutil.rmtree(place, ignore_errors=True)
    elif not held:
        console.print(f"Logs of every process are below {place}")
    return 0 if held else 1


def _play(show: Show) -> bool:
    started = time.monotonic()
    for number, (title, step) in enumerate(STEPS, 1):
        show.console.print(f"\n[bold]{number}. {title}[/bold]")
        try:
            step(show)
        except (StepFailedError, StageError) as error:
            show.console.print(f"\n[bold red]Step {number} did not hold: {title}[/bold red]\n", style="red")
            show.console.print(str(error), markup=False)
            return False
        show.progress.advance(show.task)
    show.note("the whole demonstration", f"{time.monotonic() - started:.0f} s")
    return True


def _close(show: Show, keep: bool) -> bool:
    listing = table("\nMeasured in this run", "what", "figure")
    for name, value in show.summary:
        listing.add_row(name, value)
    show.console.print(listing)
    made = show.server.ask("POST", "/signin-codes")
    show.console.print(f"\nThe fleet's web page: {made['url']}", soft_wrap=True)
    if keep:
        show.now("the fleet keeps running: Ctrl-C ends it")
        show.console.print(f"export EDGELOOP_CONTEXT={show.server.context}  # for the edgeloop command", soft_wrap=True)
        show.keep_running()
    return True


def _strike(show: Show) -> None:
    for agent in show.agents.values():
        agent.process.stop()
    show.server.close()
    show.server.process.stop()
