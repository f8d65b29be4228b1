"""What a skops file may hold beyond types that are known: so much when it is unpacked, and trees that are trees.

House rules: skops builds known types only, yet fills them with whatever numbers the file holds; scikit-learn follows a
tree's children without a look at where they lie, so that a crafted one reads foreign memory, or never ends.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RejectedError

MAX_UNPACKED_BYTES = 1024**3
MAX_MEMBERS = 100_000
MAX_SCHEMA_BYTES = 64 * 1024**2
_SCHEMA = "schema.json"
_MAX_DEPTH = 32


def refuse_bomb(path: Path) -> None:
    """Let a skops file pass that is not much larger when it is unpacked. What a member says of itself is its limit.

    Raises:
        RejectedError: it is no ZIP file, or its members are too many or too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise RejectedError(
            f"{path.name} is no skops file: {error}", "save it with skops.io.dump(estimator, 'model.skops')"
        ) from error
    size = sum(member.file_size for member in members)
    schema = sum(member.file_size for member in members if member.filename == _SCHEMA)
    if len(members) > MAX_MEMBERS or size > MAX_UNPACKED_BYTES or schema > MAX_SCHEMA_BYTES:
        raise RejectedError(
            f"{path.name} unpacks to {size} bytes in {len(members)} members, more than is accepted "
            f"({MAX_UNPACKED_BYTES} in {MAX_MEMBERS}, {MAX_SCHEMA_BYTES} of them {_SCHEMA})"
        )


def refuse_broken_trees(estimator: Any) -> None:
    """Let an estimator pass in which every branch of every tree leads on, to a node that is there.

    Raises:
        RejectedError: a tree's child or column is out of range, or a path leads back.
    """
    for part in _parts(estimator, 0, set()):
        kind = type(part).__name__
        if kind == "Tree" and hasattr(part, "children_left"):
            branch = part.children_left >= 0
            _check(part.children_left, part.children_right, part.feature, branch, int(part.n_features))
        elif kind == "TreePredictor" and hasattr(part, "nodes"):
            nodes = part.nodes
            left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
            _check(left, right, nodes["feature_idx"], nodes["is_leaf"] == 0, None)


def _check(
    left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], branch: NDArray[Any], columns: int | None
) -> None:
    """Check one tree: both of scikit-learn's builders write a node before its children."""
    places = np.flatnonzero(branch)
    for child in (left[branch], right[branch]):
        if not len(left) or (child <= places).any() or (child >= len(left)).any():
            raise RejectedError("a tree of the model has a branch to a node that is not there, or leads back")
    asked = feature[branch]
    if asked.size and (asked.min() < 0 or (columns is not None and asked.max() >= columns)):
        raise RejectedError("a tree of the model asks for a column that is not there")


def _parts(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """Walk through what an estimator is made of, each object once."""
    if depth > _MAX_DEPTH or id(value) in seen or isinstance(value, str | bytes | int | float | None):
        return
    seen.add(id(value))
    yield value
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    elif isinstance(value, np.ndarray):
        inner = list(value.flat) if value.dtype == object else []
    else:
        inner = list(getattr(value, "__dict__", {}).values())
    for item in inner:
        yield from _parts(item, depth + 1, seen)
