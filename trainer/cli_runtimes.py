"""The command `trainer runtimes`: the releases of runtimes on which builds are proven here.

House rules: as `trainer.cli`; what is made and kept is in `trainer.stages.environments`.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from trainer.cli_output import print_json, print_table
from trainer.errors import EXIT_DONE, RejectedError

if TYPE_CHECKING:
    from edge_agent.contract.runtimes import Denial

app = App(name="runtimes", help="Releases of runtimes, each in an environment of its own, to prove builds on.")

Flag = Parameter(negative="")


@app.command(name="list")
def list_(*, json: Annotated[bool, Flag] = False) -> int:
    """List the environments that are kept here.

    Args:
        json: Print the result as one JSON object.
    """
    from trainer.stages.environments import environments_folder, list_environments

    found = list_environments()
    if json:
        items = [{"runtime": str(item.release), "folder": str(item.packages)} for item in found]
        print_json({"folder": str(environments_folder()), "items": items})
    elif found:
        print_table(("runtime", "folder"), [(str(item.release), str(item.packages)) for item in found])
    else:
        sys.stdout.write(
            f"none in {environments_folder()}; add one, such as: trainer runtimes add onnxruntime==1.20.1\n"
        )
    return EXIT_DONE


@app.command
def add(release: str, *, json: Annotated[bool, Flag] = False) -> int:
    """Make the environment of a release, with pip and the package index that is configured for it.

    Args:
        release: NAME==VERSION; names are onnxruntime, ai-edge-litert, tflite-runtime and numpy.
        json: Print the result as one JSON object.
    """
    from edge_agent.contract.runtimes import judge_release
    from trainer.core.releases import parse_release
    from trainer.stages.environments import make_environment
    from trainer.stages.matrix import load_denials

    wanted = parse_release(release)
    denied = judge_release(load_denials(), wanted.distribution, wanted.version)
    if denied is not None:
        raise RejectedError(denied, "see: trainer runtimes denied")
    made = make_environment(wanted)
    if json:
        print_json({"runtime": str(made.release), "folder": str(made.packages)})
    else:
        sys.stdout.write(f"{made.release} is in {made.packages}\n")
    return EXIT_DONE


@app.command
def remove(release: str) -> int:
    """Delete the environment of a release.

    Args:
        release: NAME==VERSION, as `trainer runtimes list` says.
    """
    from trainer.core.releases import parse_release
    from trainer.stages.environments import remove_environment

    remove_environment(parse_release(release))
    return EXIT_DONE


@app.command
def denied(*, json: Annotated[bool, Flag] = False) -> int:
    """List the releases on which nothing is proven and no device is offered a variant, with the reasons.

    Args:
        json: Print the result as one JSON object.
    """
    from edge_agent.contract.codec import to_plain
    from trainer.stages.matrix import load_denials

    denials = load_denials()
    if json:
        print_json({"items": to_plain(denials)})
    else:
        print_table(("runtime", "versions", "denied", "where", "why", "source"), [_row(item) for item in denials])
    return EXIT_DONE


def _row(denial: "Denial") -> Sequence[str]:
    where = ", ".join(denial.machines) or "everywhere"
    if denial.spared:
        where += f", not on {', '.join(denial.spared)}"
    versions = ", ".join(denial.versions)
    return denial.distribution, versions, denial.feature or "all of it", where, denial.why, denial.source
