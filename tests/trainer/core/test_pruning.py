"""Pruning is that of scikit-learn's `ccp_alpha`, and leaves no more nodes than asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from trainer.core.pruning import Structure, choose_ends, collapsed, count_nodes
from trainer.stages.lower.trees import class_shares, join_forests, read_tree, targets


def data(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(n, 4))
    return x, (x[:, 0] + 0.7 * chance.normal(size=n) > 0).astype(float)


def structure(*models: object) -> Structure:
    rule = class_shares if isinstance(models[0], DecisionTreeClassifier) else targets
    forest = join_forests([read_tree(model.tree_, rule, prunable=True) for model in models])  # type: ignore[attr-defined]
    assert forest.risk is not None
    return Structure(forest.roots, forest.left, forest.right, forest.risk)


@pytest.mark.parametrize("kind", [DecisionTreeClassifier, DecisionTreeRegressor])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), share=st.floats(0.05, 0.95))
def test_as_many_nodes_are_left_as_scikit_learn_leaves(kind: type, seed: int, share: float) -> None:
    x, y = data(seed)
    model = kind(random_state=0).fit(x, y)
    # Between two steps of the path, where no rounding decides: steps may be equal but for the last bit.
    alphas = np.unique(model.cost_complexity_pruning_path(x, y).ccp_alphas.round(12))
    place = int(share * (len(alphas) - 1))
    alpha = float((alphas[place] + alphas[place + 1]) / 2)
    pruned = kind(random_state=0, ccp_alpha=alpha).fit(x, y)
    trees = structure(model)
    assert count_nodes(trees, collapsed(trees, trees.levels(), alpha)) == pruned.tree_.node_count


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), most=st.integers(5, 300))
def test_no_more_nodes_are_left_than_asked_and_hardly_fewer(seed: int, most: int) -> None:
    x, y = data(seed)
    trees = structure(*(DecisionTreeClassifier(random_state=0).fit(x[start::2], y[start::2]) for start in (0, 1)))
    whole = len(trees.left)
    left = count_nodes(trees, choose_ends(trees, most))
    assert left <= most
    # Subtrees go as a whole, so there is a gap, but never down to the roots where there is room for more.
    assert left > min(most, whole) / 4
    assert left == whole or most < whole


def test_a_tree_keeps_its_root() -> None:
    x, y = data(0)
    trees = structure(DecisionTreeClassifier(random_state=0).fit(x, y))
    assert count_nodes(trees, choose_ends(trees, 0)) == 1
