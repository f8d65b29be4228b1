"""The margins of a classifier whose label is that of the most votes, the first among equals: support vector machines.

libsvm gives a row to the class that most pairs vote for, the first of those that have as many. scikit-learn's decision
function is the votes plus each class's confidence, which lies within 1/3 of 0: among as many votes the largest margin
may be another class's. Where the most votes are shared, `prefer_first` lifts the class that `predict` gives.
"""

import numpy as np

from trainer.core.arrays import Floats

# As much as two confidences can differ; everything under a vote would do.
LIFT = 2.0 / 3.0


def prefer_first(margins: Floats) -> Floats:
    """Return votes with confidences, one column a class, and LIFT on the first of those that share most votes."""
    votes = np.rint(margins)
    leads = votes == votes.max(axis=1, keepdims=True)
    shared = leads.sum(axis=1) > 1
    lifted = margins.copy()
    lifted[shared, leads.argmax(axis=1)[shared]] += LIFT
    return lifted
