"""Accuracy against the card: a model as good as promised is left alone at every look, one that fell is found."""

from dataclasses import replace

import numpy as np
import pytest

from fleet_server.core.concept_rules import Labelled, Promise, Truth, promise_of, watch_truth, weigh_truth
from fleet_server.core.drift_machine import Evidence
from fleet_server.core.drift_policy import DriftPolicy

POLICY = DriftPolicy()
CARD = Promise(of_labels=True, value=0.95, rows=500)
VALUES = Promise(of_labels=False, value=2.0, rows=500)


def windows_of(chance: np.random.Generator, accuracy: float, count: int, rows: int = 40) -> list[Labelled]:
    """Windows whose errors come in runs: a window's own error rate varies by half around the mean."""
    wrong = np.clip((1 - accuracy) * chance.choice([0.5, 1.5], size=count), 0, 1)
    return [Labelled(rows, int(rows - chance.binomial(rows, rate)), 0.0) for rate in wrong]


def first_alarm(held: list[Labelled], policy: DriftPolicy = POLICY, promise: Promise = CARD) -> int | None:
    truth = Truth()
    for place, window in enumerate(held):
        truth = watch_truth(truth, promise, [window], policy)
        if weigh_truth(truth, policy) is Evidence.CONFIRMED:
            return place + 1
    return None


def test_a_model_at_its_limit_is_left_alone_at_every_look() -> None:
    chance = np.random.default_rng(1)
    limit = 1 - CARD.limit(POLICY.accuracy_margin)
    alarms = sum(first_alarm(windows_of(chance, limit, 500)) is not None for _ in range(40))
    # 500 looks of 1e-4 each, in 40 runs: two are to be expected at the very most.
    assert alarms <= 6
    assert all(first_alarm(windows_of(chance, 0.95, 500)) is None for _ in range(20))


def test_accuracy_that_fell_is_found_after_a_good_year() -> None:
    chance = np.random.default_rng(2)
    for _ in range(20):
        found = first_alarm([*windows_of(chance, 0.95, 2000), *windows_of(chance, 0.75, 60)])
        assert found is not None
        assert 2000 < found <= 2040


def test_the_margin_and_the_level_change_the_outcome() -> None:
    held = windows_of(np.random.default_rng(3), 0.75, 60)
    found = first_alarm(held)
    assert found is not None
    assert first_alarm(held[:found], replace(POLICY, accuracy_margin=0.3)) is None
    assert first_alarm(held[:found], replace(POLICY, accuracy_alpha=1e-12)) is None


def test_errors_of_values_are_held_against_the_cards() -> None:
    chance = np.random.default_rng(4)
    good = [Labelled(40, 0, float(np.abs(chance.normal(0, 2.5, 40)).sum())) for _ in range(300)]
    bad = [Labelled(40, 0, 2.5 * item.abs_error) for item in good]
    assert first_alarm(good, promise=VALUES) is None
    found = first_alarm(bad, promise=VALUES)
    assert found is not None
    assert found <= 40


def test_what_recovers_is_seen_to() -> None:
    chance = np.random.default_rng(5)
    truth = watch_truth(Truth(), CARD, windows_of(chance, 0.5, 200), POLICY)
    assert weigh_truth(truth, POLICY) is Evidence.CONFIRMED
    truth = watch_truth(truth, CARD, windows_of(chance, 0.97, 200), POLICY)
    assert weigh_truth(truth, POLICY) is Evidence.CLEAR


def test_windows_without_labels_say_nothing() -> None:
    truth = watch_truth(Truth(), CARD, [Labelled(0, 0, 0.0)] * 10, POLICY)
    assert truth == Truth()
    assert weigh_truth(truth, POLICY) is Evidence.FEW


@pytest.mark.parametrize(
    ("metrics", "promise"),
    [
        ({"accuracy": 0.9}, Promise(of_labels=True, value=0.9, rows=100)),
        ({"mae": 3.0, "r2": 0.5}, Promise(of_labels=False, value=3.0, rows=100)),
        ({"r2": 0.5}, None),
        ({"mae": 0.0}, None),
    ],
)
def test_a_card_promises_accuracy_or_an_error(metrics: dict[str, float], promise: Promise | None) -> None:
    assert promise_of(metrics, 100) == promise
