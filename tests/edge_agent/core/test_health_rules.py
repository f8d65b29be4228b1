"""Counters that go on over restarts of the worker."""

from edge_agent.core.control import Beat, ModelBeat
from edge_agent.core.health_rules import HealthLedger


def beat(infer: int, errors: int = 0, version: int = 1) -> Beat:
    model = ModelBeat("digits", version, infer, errors, 0, 0.1, 0.2, 0.3, 0.9, 0.0, 0.0, 0.0)
    return Beat((model,), 0.0, 12.0)


def test_counts_never_go_back() -> None:
    ledger = HealthLedger()
    seen = []
    for worker, infer in ((1, 10), (1, 30), (2, 0), (2, 5), (4, 1)):
        ledger.count(worker, beat(infer))
        ((_, sums),) = ledger.figures()
        seen.append(sums.infer_n)
    assert seen == [10, 30, 30, 35, 36]


def test_versions_are_counted_apart() -> None:
    ledger = HealthLedger()
    ledger.count(1, beat(10, 1))
    ledger.count(2, beat(4, 0, version=2))
    ((latest, sums),) = ledger.figures()
    assert (latest.version, sums.infer_n, sums.err_n) == (2, 4, 0)
