"""What all tests share: properties are judged by their outcome, not by the clock of a shared machine."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
SIEGE = tuple(HERE / name for name in ("attacks", "chaos", "faults", "fleet_server/releases"))

settings.register_profile("edgeloop", deadline=None)
settings.register_profile("edgeloop-ci", deadline=None, derandomize=True, print_blob=True)
# `make test-fast`: a glance while one works; every other run looks at as many examples as a test says.
settings.register_profile("edgeloop-fast", deadline=None, max_examples=10)
_profile = "edgeloop-ci" if settings.get_current_profile_name() == "ci" else "edgeloop"
settings.load_profile("edgeloop-fast" if os.environ.get("EDGELOOP_TESTS") == "fast" else _profile)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies in a folder of attacks or faults is marked as such."""
    for item in items:
        if any(folder in item.path.parents for folder in SIEGE):
            item.add_marker(pytest.mark.siege)
