"""The demonstration: a small fleet on this machine goes through the whole cycle, and every promise is checked."""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fleet_server.cli.demo.retraining import ROOMS, FieldPlay
from fleet_server.cli.demo.rooms import choose_story
from fleet_server.cli.demo.show import Show, StepFailedError, table
from fleet_server.cli.demo.stage import Agent, Server, StageError
from fleet_server.cli.demo.steps import STEPS, Step

BOTH = ("onnx", "tflite")
CAST = (
    ("pi4-north", "pi4", ("onnx",)),
    ("pi4-south", "pi4", ("onnx",)),
    ("zero-north", "pi-zero2w", BOTH),
    ("pi3-south", "pi3", ("tflite",)),
)


@dataclass(frozen=True, slots=True)
class Plot:
    """Who plays, and what happens."""

    agents: Mapping[str, Agent]
    steps: Sequence[Step]


def run(*, keep: bool = False, folder: Path | None = None, port: int = 0, broker: str = "auto") -> int:
    """Run the demonstration of the whole loop; returns 0 where every step held, else 1.

    With `keep` the fleet runs on until Ctrl-C. Everything lives below `folder`, by default a temporary one, which is
    removed after a run that held.
    """

    def plot(place: Path) -> Plot:
        return Plot({name: Agent(name, profile, place / name, runtimes) for name, profile, runtimes in CAST}, STEPS)

    return _run(plot, keep=keep, folder=folder, port=port, broker=broker)


def run_retraining(
    data: Path | None, *, keep: bool = False, folder: Path | None = None, port: int = 0, broker: str = "auto"
) -> int:
    """Run the demonstration of retraining, on the rows in `data` where they are there; as `run`."""

    def plot(place: Path) -> Plot:
        play = FieldPlay(choose_story(data, len(ROOMS)))
        agents = {name: Agent(name, "pi4", place / name, ("onnx",), feedback=True) for name in ROOMS}
        return Plot(agents, play.steps())

    return _run(plot, keep=keep, folder=folder, port=port, broker=broker)


def _run(plot: Callable[[Path], Plot], *, keep: bool, folder: Path | None, port: int, broker: str) -> int:
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
        made = plot(place)
        task = progress.add_task("starting", total=len(made.steps))
        show = Show(place, console, progress, task, Server.at(place / "server", port, broker), made.agents)
        try:
            held = _play(show, made.steps) and _close(show, keep)
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


def _play(show: Show, steps: Sequence[Step]) -> bool:
    started = time.monotonic()
    for number, (title, step) in enumerate(steps, 1):
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
