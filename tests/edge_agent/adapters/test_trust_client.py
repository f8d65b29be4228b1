"""What this project relies on of python-tuf 7 beyond its documented interface, and what it adds to it."""

import datetime as dt
from pathlib import Path

import pytest
from tuf.ngclient import Updater
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet

from edge_agent.adapters.trust_client import PackFetcher, open_repository
from edge_agent.adapters.trust_floors import Floors, RoleVersion
from edge_agent.adapters.trust_state import DistrustedError
from edge_agent.contract.states import Reason
from tests.fakes.trust_repository import FakeRepository
from tests.fakes.trust_world import MONTH, NOW

A, B, C, D, E = (frozenset({name}) for name in "abcde")


def test_the_private_attributes_are_where_they_were(tmp_path: Path) -> None:
    """python-tuf 7 has no public way to the reference time and to verified metadata; pyproject.toml says `tuf<8`."""
    repo = FakeRepository()
    updater = Updater(str(tmp_path), "pack:///", fetcher=PackFetcher(repo.files), bootstrap=repo.first_root.encode())
    assert isinstance(updater._trusted_set, TrustedMetadataSet)
    assert abs(updater._trusted_set.reference_time - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    updater._trusted_set.reference_time = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(Exception, match="expired"):
        updater.refresh()


def test_expiry_is_judged_at_the_time_that_is_given(tmp_path: Path) -> None:
    repo = FakeRepository(expires=NOW + MONTH)
    for number, (at, reason) in enumerate([(NOW, None), (NOW + 2 * MONTH, Reason.EXPIRED)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = open_repository("image", PackFetcher(repo.files), repo.first_root.encode(), folder)
        if reason is None:
            found.refresh(at)
        else:
            with pytest.raises(DistrustedError) as caught:
                found.refresh(at)
            assert caught.value.reason is reason


def test_a_pinned_root_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(DistrustedError, match="pinned root") as caught:
        open_repository("image", PackFetcher({}), b"{}", tmp_path)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("old", "new", "threshold", "holds"),
    [
        (A, A, 1, True),
        (A, A | B, 1, True),
        (A, B, 1, False),
        (A | B | C, A | B | D, 2, True),
        (A | B | C, A | D | E, 2, False),
        (A | B | C, A | D | E, 1, True),
        (frozenset(), B, 1, True),
    ],
)
def test_a_floor_holds_while_its_keys_could_still_sign(
    tmp_path: Path, old: frozenset[str], new: frozenset[str], threshold: int, holds: bool
) -> None:
    with Floors.open(tmp_path / "trust.db") as floors:
        floors.raise_to("image", [RoleVersion("targets", 9, old, threshold)], [])
        now = RoleVersion("targets", 3, new, threshold)
        assert (floors.in_force("image", now) is not None) is holds
        assert floors.is_lifted("image", now) is not holds
        assert floors.in_force("director", now) is None


def test_floors_rise_together_and_never_fall(tmp_path: Path) -> None:
    path = tmp_path / "trust.db"
    role = RoleVersion("targets", 5, A, 1, "five")
    with Floors.open(path) as floors:
        floors.raise_to("image", [role], [role])
        floors.raise_to("image", [RoleVersion("targets", 4, A, 1, "four")], [RoleVersion("targets", 4, A, 1)])
    with Floors.open(path) as floors:
        found = floors.in_force("image", role)
        assert found is not None
        assert (found.version, found.digest) == (5, "five")
        assert floors.held("image", "targets") == 4
    path.write_bytes(b"damaged" * 1000)
    with Floors.open(path) as floors:
        assert floors.in_force("image", role) is None
    assert path.with_name("trust.db.damaged").exists()
