"""Markers: the newest that is whole counts, numbers never go back, and another server begins anew."""

from pathlib import Path

import pytest

from edge_agent.adapters.markers import Markers
from edge_agent.contract.messages import Desired, Proof
from edge_agent.contract.states import Reason, Result, UpdateState
from edge_agent.core.update_machine import Update

SETS = [Desired("dev", seq, 0, ()) for seq in range(12)]
PROOFS = (Proof("a" * 64, 8, 0.0, 1.0, 10.0, 20.0, 1.0, 10.0, 12.0),)


def opened(folder: Path) -> Markers:
    markers = Markers(folder / "good")
    markers.prepare()
    return markers


def test_a_device_that_committed_nothing_has_nothing_to_rebuild(tmp_path: Path) -> None:
    markers = opened(tmp_path)
    assert (markers.rebuilt(), markers.boot) == (None, 0)
    markers.see(boot=3)
    assert (opened(tmp_path).rebuilt(), opened(tmp_path).boot) == (None, 3)


def test_the_newest_commit_is_rebuilt_as_one_that_is_still_to_be_reported(tmp_path: Path) -> None:
    markers = opened(tmp_path)
    markers.see(boot=4)
    for seq in (2, 9, 10):
        markers.mark(SETS[seq], PROOFS)
    update = opened(tmp_path).rebuilt()
    assert update is not None
    assert (update.state, update.good, update.target) == (UpdateState.REPORTING, SETS[10], SETS[10])
    assert (update.proofs, update.highest_seq) == (PROOFS, 10)
    assert update.verdict is not None
    assert (update.verdict.result, update.verdict.reason) == (Result.SUCCEEDED, Reason.OK)
    assert {path.name for path in (tmp_path / "good").iterdir()} == {"seen.json", "9.json", "10.json"}


def test_a_document_that_was_taken_in_may_come_again_and_an_older_one_not(tmp_path: Path) -> None:
    markers = opened(tmp_path)
    markers.see(highest_seq=7)
    assert opened(tmp_path).rebuilt() == Update(highest_seq=6)
    markers.mark(SETS[3], ())
    update = opened(tmp_path).rebuilt()
    assert update is not None
    assert update.highest_seq == 6


@pytest.mark.parametrize("damage", [b"", b"x", b"{}" * 40])
def test_a_damaged_file_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    markers = opened(tmp_path)
    markers.see(boot=5, highest_seq=2)
    markers.mark(SETS[1], ())
    markers.mark(SETS[2], ())
    (tmp_path / "good" / "2.json").write_bytes(damage)
    (tmp_path / "good" / "seen.json").write_bytes(damage)
    found = opened(tmp_path)
    update = found.rebuilt()
    assert update is not None
    assert (update.good, found.boot) == (SETS[1], 5)


def test_numbers_never_go_back(tmp_path: Path) -> None:
    markers = opened(tmp_path)
    markers.see(boot=5, highest_seq=7)
    markers.see(boot=2, highest_seq=3)
    assert opened(tmp_path).boot == 5
    assert opened(tmp_path).rebuilt() == Update(highest_seq=6)


def test_another_server_begins_anew_but_boots_go_on(tmp_path: Path) -> None:
    markers = opened(tmp_path)
    markers.see(boot=5, highest_seq=7)
    markers.mark(SETS[7], ())
    Markers(tmp_path / "good").forget()
    assert (opened(tmp_path).rebuilt(), opened(tmp_path).boot) == (None, 5)
