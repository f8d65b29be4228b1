"""Options of the command `trainer` that belong together, with their help."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

Flag = Parameter(negative="")
Releases = Annotated[tuple[str, ...] | None, Parameter(negative="")]


def told(text: str) -> Parameter:
    """Return an option's help."""
    return Parameter(help=text, negative="")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Reading:
    """What a model from elsewhere and its rows do not say of themselves."""

    target: Annotated[str | None, told("The target column of a CSV file.")] = None
    drop: Annotated[tuple[str, ...], told("A column of a CSV file that is no feature; repeatable.")] = ()
    task: Annotated[
        Literal["classification", "regression", "clustering", "anomaly"] | None,
        told("What an ONNX graph does; estimators say it themselves."),
    ] = None
    output: Annotated[str | None, told("Which output of an ONNX graph holds the scores.")] = None
    description: Annotated[str, told("A line for the model card.")] = ""
    allow_pickle: Annotated[bool, told("Load a .joblib file, which runs whatever code is in it.")] = False


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Within:
    """What smaller variants may lose, and what is wanted of them."""

    budget: Annotated[
        float | None,
        told("What a smaller variant may lose: points of accuracy, or percent of R²; by default 0.5, or 1."),
    ] = None
    want: Annotated[
        Literal["size", "latency", "both"],
        told("Of what the variants within the budget shall have as little as possible."),
    ] = "both"


AS_READ = Reading()
AS_USUAL = Within()
