"""Of the classes that share most votes the first is lifted over the others; nothing else is touched."""

import numpy as np

from trainer.core.votes import prefer_first


def test_only_the_first_of_those_that_share_most_votes_is_lifted() -> None:
    margins = np.array(
        [
            [1.1, 0.9, 1.3],  # one vote each: the first, whatever the confidence
            [2.2, 1.0, -0.2],  # one class has most
            [0.1, 1.7, 2.3],  # two votes each of the second and the third
            [-0.3, 2.1, 0.9],
        ]
    )
    lifted = prefer_first(margins)
    assert lifted.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert (lifted != margins).sum(axis=1).tolist() == [1, 0, 1, 0]


def test_the_lift_beats_the_largest_difference_of_confidences() -> None:
    third = 1 / 3 - 1e-9
    assert prefer_first(np.array([[1 - third, 1 + third, 1.0]])).argmax() == 0
