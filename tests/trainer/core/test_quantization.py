"""Eight bits: no weight is off by more than half a step, and the step is one number a tensor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainer.core.quantization import LIMITS, judge_worth, quantize

WEIGHTS = arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(-1e3, 1e3))


@given(weights=WEIGHTS)
def test_half_a_step_at_most(weights: np.ndarray) -> None:
    values, scale = quantize(weights)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= LIMITS[np.dtype(np.int8)]
    if np.abs(weights).max() > 1e-30:
        assert np.abs(values * scale - weights).max() <= scale * (0.5 + 1e-4)


def test_weights_of_nothing_stay_nothing() -> None:
    values, scale = quantize(np.zeros((2, 2)))
    assert not values.any()
    assert scale == 1.0


def test_a_weight_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        quantize(np.array([[np.nan]]))


def test_few_weights_are_not_worth_it() -> None:
    assert "nothing to gain" in str(judge_worth(300))
    assert judge_worth(164_352) is None
