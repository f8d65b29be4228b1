"""What the demonstration of retraining is about: a recipe, the rows it was made with, and what the field sends later.

House rules: the rows of the field come in the order of time, each once. Real measurements are Occupancy's (UCI machine
learning repository, L. Candanedo and V. Feldheim, 2016: an office, one row a minute); where they are not at hand,
digits that scikit-learn carries, with a shift that is induced and said to be.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_server.cli.demo.traffic import Row

TRAINING, LATER = "datatraining.csv", ("datatest.csv", "datatest2.csv")

_OCCUPANCY = """\
model = "occupancy"
task = "classification"
description = "Whether somebody is in the room, from temperature, light and CO2"

[data]
csv = "base.csv"
target = "target"

[[steps]]
estimator = "sklearn.preprocessing.StandardScaler"

[[steps]]
estimator = "sklearn.neural_network.MLPClassifier"
params = { hidden_layer_sizes = [16] }
"""
_DIGITS = """\
model = "digits"
task = "classification"
description = "Handwritten digits, 8 by 8, by logistic regression"

[data]
csv = "base.csv"
target = "target"

[[steps]]
estimator = "sklearn.preprocessing.StandardScaler"

[[steps]]
estimator = "sklearn.linear_model.LogisticRegression"
params = { max_iter = 300 }
"""


@dataclass(frozen=True, slots=True)
class Story:
    """A model, how it is made, its base rows, and the field's rows with their truth.

    One window of a device is `window_rows` rows; a training takes the rows of `windows` windows of every device, and
    its newest `newest` percent are held out. `told` says what the rows are.
    """

    model: str
    recipe: str
    features: tuple[str, ...]
    base: tuple[tuple[Row, str], ...]
    field: tuple[tuple[Row, str], ...]
    window_rows: int
    windows: int
    newest: int
    told: str

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write the recipe and its rows; return both paths."""
        recipe, data = folder / f"{self.model}.toml", folder / "base.csv"
        recipe.write_text(self.recipe)
        with data.open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow([*self.features, "target"])
            lines.writerows([*row, label] for row, label in self.base)
        return recipe, data


def choose_story(folder: Path | None, devices: int) -> Story:
    """Return the story of Occupancy where its files are in `folder`, else that of digits.

    Raises:
        OSError, ValueError: the files cannot be read.
    """
    if folder is not None and all((folder / name).is_file() for name in (TRAINING, *LATER)):
        return _occupancy(folder, devices)
    return _digits(devices)


def _occupancy(folder: Path, devices: int) -> Story:
    features = ("Temperature", "Light", "CO2")
    later = [row for name in LATER for row in _read(folder / name, features, "Occupancy")]
    return Story(
        model="occupancy",
        recipe=_OCCUPANCY,
        features=features,
        base=tuple(_read(folder / TRAINING, features, "Occupancy")),
        field=tuple(later),
        window_rows=1500 // devices,
        windows=4,
        newest=40,
        told=(
            f"real measurements of an office; {devices} devices take turns, a row a minute in all, so that a window is "
            "25 hours and the demonstration's clock is some ten thousand times faster than the room's"
        ),
    )


def _read(path: Path, features: Sequence[str], target: str) -> list[tuple[Row, str]]:
    """Read the named columns of a file that R's write.table made: its header lacks the numbers of the rows."""
    with path.open(newline="") as file:
        header, *lines = [line for line in csv.reader(file) if line]
    places = [header.index(name) - len(header) for name in (*features, target)]
    return [(tuple(float(line[place]) for place in places[:-1]), line[places[-1]]) for line in lines]


def _digits(devices: int) -> Story:
    from sklearn.datasets import load_digits

    found = load_digits()
    features = tuple(str(name) for name in found.feature_names)
    rows = [(tuple(map(float, row)), str(label)) for row, label in zip(found.data, found.target, strict=True)]
    windows = 3
    return Story(
        model="digits",
        recipe=_DIGITS,
        features=features,
        base=tuple(rows[:800]),
        field=tuple((_brighter(row), label) for row, label in rows[800:]),
        window_rows=len(rows[800:]) * 3 // 4 // (devices * windows),
        windows=windows,
        newest=40,
        told="digits that scikit-learn carries; the field's camera is brighter by 3 of 16 levels, which is induced",
    )


def _brighter(row: Row) -> Row:
    """Return an image as a camera takes it that adds light, and knows 16 levels."""
    return tuple(min(16.0, value + 3.0) for value in row)
