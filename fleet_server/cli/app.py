"""The command's tree, and how it ends: exit codes, and errors as what, why, and one command that helps."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError, Group

from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import clean, stderr_console

_ROOM = "fleet_server.cli."
RUN = Group("Run", sort_key=0)
FLEET = Group("Fleet", sort_key=1)
WATCH = Group("Watch", sort_key=2)
ACCESS = Group("Access", sort_key=3)


def build_app() -> App:
    """Return the whole command tree; the modules of the nouns are imported when one is used."""
    app = App(
        name="edgeloop",
        help="Train, compile, deploy, watch and update models on fleets of edge devices, over MQTT.",
        version=_version,
        help_format="plaintext",
    )
    app.command(f"{_ROOM}up:up", name="up", group=RUN, help="Start the server and its broker here.")
    app.command(f"{_ROOM}server:app", name="server", group=RUN, help="Back this machine's server up, and restore it.")
    app.command(f"{_ROOM}tryout:demo", name="demo", group=RUN, help="Run the whole loop on simulated devices.")
    app.command(f"{_ROOM}doctor:doctor", name="doctor", group=RUN, help="Check this machine and the server.")
    app.command(f"{_ROOM}signin:signin", name="signin", group=RUN, help="Make a one-time link to the web page.")
    app.command(f"{_ROOM}model:app", name="model", group=FLEET, help="Models, versions and their variants.")
    app.command(f"{_ROOM}device:app", name="device", group=FLEET, help="Devices and enrolment tokens.")
    app.command(f"{_ROOM}group:app", name="group", group=FLEET, help="Groups: label queries over devices.")
    app.command(
        f"{_ROOM}release:app", name="release", group=FLEET, help="What release keys have signed, and what waits."
    )
    app.command(f"{_ROOM}rollout:app", name="rollout", group=FLEET, help="Bring a version to a group, in phases.")
    app.command(f"{_ROOM}proposal:app", name="proposal", group=FLEET, help="Proposals to make a model anew.")
    app.command(f"{_ROOM}drift:drift", name="drift", group=WATCH, help="How inputs and outputs moved.")
    app.command(f"{_ROOM}drift:drift_policy", name="drift-policy", group=WATCH, help="What drift is judged by.")
    app.command(f"{_ROOM}health:health", name="health", group=WATCH, help="Throughput, latency and errors.")
    app.command(f"{_ROOM}feed:events", name="events", group=WATCH, help="What devices say happened.")
    app.command(f"{_ROOM}feed:decisions", name="decisions", group=WATCH, help="What was decided, why, by whom.")
    app.command(f"{_ROOM}feedback:app", name="feedback", group=WATCH, help="Labelled rows of devices.")
    app.command(f"{_ROOM}operation:operations", name="operations", group=WATCH, help="Long-running work: builds.")
    app.command(f"{_ROOM}key:app", name="key", group=ACCESS, help="API keys: a role, limits, an end.")
    app.command(f"{_ROOM}user:app", name="user", group=ACCESS, help="People who sign in on the web page.")
    app.command(f"{_ROOM}audit:app", name="audit", group=ACCESS, help="Who did what, and whether the log is whole.")
    return app


def main() -> NoReturn:
    """Run the command that the process was given, and end with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code (see `Exit`)."""
    app = build_app()
    try:
        result = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        path = " ".join(error.command_chain or ())
        _render(CommandError(clean(str(error)), "", f"edgeloop {path} --help".replace("  ", " "), Exit.USAGE))
        return Exit.USAGE
    except CommandError as error:
        _render(error)
        return error.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, had enough
        sys.stderr.close()
        return Exit.DONE
    return result if isinstance(result, int) else Exit.DONE


def _render(error: CommandError) -> None:
    from rich.text import Text

    console = stderr_console()
    console.print(Text.assemble(("error: ", "bold red"), clean(error.what)))
    if error.why:
        console.print(Text.assemble(("  why: ", "bold"), clean(error.why)))
    if error.hint:
        console.print(Text.assemble(("  try: ", "bold green"), clean(error.hint)))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"edgeloop {version('edgeloop')}"
    except PackageNotFoundError:
        return "edgeloop (not installed)"
