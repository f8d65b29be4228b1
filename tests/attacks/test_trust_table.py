"""The device's trust as a table: an attack is refused with its reason and changes nothing; the sound is followed."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.contract.messages import TrustHeld
from edge_agent.contract.states import REFUSALS
from tests.attacks.trust_rows import METADATA_ROWS, Row
from tests.attacks.trust_rows_order import ORDER_ROWS
from tests.attacks.trust_rows_state import STATE_ROWS
from tests.fakes.trust_world import NOW, World

ROWS = (*METADATA_ROWS, *ORDER_ROWS, *STATE_ROWS)


@pytest.fixture(scope="module")
def base() -> Iterator[World]:
    """A device that holds order 2, in memory: the flushes of some hundred runs would take most of the time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        world = World(Path(folder) / "base")
        world.enrol()
        world.give(1)
        world.show()
        found = world.check()
        assert found.desired is not None
        assert (found.desired.seq, found.held.refused) == (2, None)
        world.remember()
        yield world


def director_of(held: TrustHeld) -> TrustHeld:
    """What is held of the director alone."""
    return replace(held, image_root=0, image_timestamp=0, image_snapshot=0, image_targets=0, refused=None, detail="")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_the_device_believes(base: World, row: Row) -> None:
    world = base.clone(base.folder.with_name(f"row-{ROWS.index(row)}"))
    row.do(world)
    before = world.held()
    found = world.check()
    assert found.held.refused == row.reason, found.held.detail
    if row.reason is None:
        assert found.desired is not None
        assert found.desired.seq == found.held.director_targets
    else:
        assert row.reason in REFUSALS
        assert found.desired is None
        assert found.held.detail
        # A trust.db that was lost is made anew by the next verification.
        assert not before.director_root or director_of(found.held) == director_of(before)
    if row.reason is not None and row.heals:
        honest = base.clone(base.folder.with_name(f"honest-{ROWS.index(row)}"))
        healed = replace(world, image=honest.image, director=honest.director, now=NOW)
        healed.give(2, 3, 4, 5, 6)
        for repository in (healed.image, healed.director):
            repository.publish(targets=20, snapshot=20, timestamp=20)
        healed.show()
        assert healed.check().held.refused is None


def test_the_table_is_long_and_says_each_thing_once() -> None:
    assert len(ROWS) >= 90
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.reason for row in ROWS if row.reason} >= {
        "bad_signature",
        "malformed",
        "oversize",
        "expired",
        "rolled_back",
        "inconsistent",
        "not_released",
        "wrong_device",
        "wrong_hardware",
    }
