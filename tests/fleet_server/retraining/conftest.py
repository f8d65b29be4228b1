"""A server with version 1 in the field, labelled rows, and a pipeline."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_server.services.clock import now_ms
from tests.fakes.retraining import in_the_field, set_pipeline
from tests.fakes.server_app import Board, Served, served


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        found.clock.ms = now_ms()  # the signer of automatic versions goes by the machine's clock
        yield found


@pytest.fixture
def boards(fleet: Served) -> list[Board]:
    found = in_the_field(fleet)
    set_pipeline(fleet)
    return found
