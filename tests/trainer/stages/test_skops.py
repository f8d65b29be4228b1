"""Every estimator that can be compiled can be brought in as a skops file, and is the same afterwards."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.utils import all_estimators

from tests.fakes.trainer_models import rows
from trainer.errors import CannotLower, RejectedError
from trainer.stages.lower.estimators import lower
from trainer.stages.signature import read_signature
from trainer.stages.sources import load_estimator

# skops itself does not know the clusters' tree of Birch.
NOT_IN_SKOPS = {"Birch"}


def lowered() -> list[tuple[str, Any, Any]]:
    """All estimators that fit small whole numbers as they are made, have scores and are lowered."""
    x, y = rows(0)
    x = np.abs(x / x.std(axis=0)).round(1)
    found = []
    for name, cls in all_estimators():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = cls().fit(x, y)
                scores = read_signature(model).scores(x)
                lower(model, x.shape[1])
            except (CannotLower, RejectedError, ValueError, TypeError, AttributeError, IndexError):
                continue
        found.append((name, model, (x, scores)))
    return found


@pytest.mark.compiler
def test_whatever_is_lowered_comes_through_its_file(tmp_path: Path) -> None:
    names, refused = [], set()
    for name, model, (x, scores) in lowered():
        names.append(name)
        path = tmp_path / f"{name}.skops"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                skops.io.dump(model, path)
                again, _ = load_estimator(path, allow_pickle=False)
                np.testing.assert_allclose(read_signature(again).scores(x), scores, 1e-9, 1e-12, err_msg=name)
        except (RejectedError, skops.io.exceptions.UnsupportedTypeException):
            refused.add(name)
    assert len(names) > 70
    assert refused <= NOT_IN_SKOPS
