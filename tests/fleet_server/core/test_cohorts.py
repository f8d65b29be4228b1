"""What lies on a cohort's topics: sent once, kept while wanted, cleared later."""

import pytest

from fleet_server.core.cohorts import Shipment, choose_cohort, plan_clearing, plan_shipments

A, B = Shipment("pi4", "a" * 64), Shipment("zero2w", "a" * 64)


def test_a_bundle_is_shipped_once_for_all_devices_of_a_cohort() -> None:
    assert plan_shipments([A, B, A, A], ()) == (A, B)
    assert plan_shipments([A, B, A], {A}) == (B,)


def test_only_what_nobody_wanted_for_long_is_cleared() -> None:
    shipped = {A: 100.0, B: 500.0}
    assert plan_clearing(shipped, {A}, now=1000.0, keep_s=100.0) == (B,)
    assert plan_clearing(shipped, (), now=550.0, keep_s=100.0) == (A,)
    assert plan_clearing(shipped, (), now=150.0, keep_s=100.0) == ()


def test_a_cohort_is_a_name() -> None:
    assert choose_cohort("pi4") == "pi4"
    with pytest.raises(ValueError, match="a name is"):
        choose_cohort("../pi4")
