"""Baseline histograms: where the training rows lay, so that a device can count and the server can compare.

Each feature has inner edges at training quantiles; bin i holds `edges[i-1] < x <= edges[i]`. Quantiles of columns with
few values coincide, so there may be fewer than 20 bins; a constant column has one. `under` and `over` count values
outside of the training range [low, high]; those values are in no bin.

A column of few whole values is categorical: it has `categories`, and bin i counts the value `categories[i]` alone.
Every other finite value counts in `over`, wherever it lies. The edges are there all the same, midway between, so that
an agent that knows no categories counts the same values in the same bins.
"""

from dataclasses import dataclass

BINS = 20
BINS_SMALL = 10
SMALL_TRAINING_ROWS = 1000


@dataclass(frozen=True, slots=True)
class FeatureBaseline:
    """One input column in training: `len(edges) + 1` bins, their counts, missing values, mean, standard deviation.

    With `categories`, rising and one a bin, the column is categorical.
    """

    name: str
    low: float
    high: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int
    mean: float
    std: float
    categories: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"{self.name!r}: {len(self.edges)} edges make {len(self.edges) + 1} bins, not {len(self.counts)}"
            )
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"{self.name!r}: edges must rise")
        if self.categories and len(self.categories) != len(self.counts):
            raise ValueError(f"{self.name!r}: {len(self.categories)} categories are not {len(self.counts)} bins")
        if any(a >= b for a, b in zip(self.categories, self.categories[1:], strict=False)):
            raise ValueError(f"{self.name!r}: categories must rise")


@dataclass(frozen=True, slots=True)
class OutputBaseline:
    """What the model answered on the held-out rows: counts per label, or per bin of the value for regression.

    `confidence` has ten bins of the largest probability over [0, 1]; empty where scores are no probabilities.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidence: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """The file `baseline.json` of a bundle; features in the order of the input's columns."""

    rows: int
    features: tuple[FeatureBaseline, ...]
    output: OutputBaseline
