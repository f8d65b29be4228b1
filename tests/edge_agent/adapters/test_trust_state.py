"""What trust rests on, on disk: pinned by enrolment, put in place at once, and cleaned of what a kill left behind."""

from pathlib import Path

import pytest

from edge_agent.adapters.trust_state import HISTORY, DistrustedError, TrustState, install_roots
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR, IMAGE, MAX_PACK_BYTES


@pytest.fixture
def state(tmp_path: Path) -> TrustState:
    install_roots(tmp_path, "image root", "director root")
    return TrustState(tmp_path)


def verified(folder: Path, timestamp: bytes) -> Path:
    (folder / HISTORY).mkdir(parents=True, exist_ok=True)
    (folder / "timestamp.json").write_bytes(timestamp)
    (folder / HISTORY / "1.root.json").write_bytes(b"root")
    (folder / "root.json").unlink(missing_ok=True)
    (folder / "root.json").symlink_to(f"{HISTORY}/1.root.json")
    return folder


def test_an_enrolment_pins_both_roots_and_forgets_the_server_before(state: TrustState, tmp_path: Path) -> None:
    assert (state.pinned(IMAGE), state.pinned(DIRECTOR)) == (b"image root", b"director root")
    state.keep_pack(IMAGE, b"pack")
    state.keep(IMAGE, verified(tmp_path / "verified", b"1"))
    state.floors.write_bytes(b"floors")
    install_roots(tmp_path, "another", "and another")
    assert state.pinned(IMAGE) == b"another"
    assert state.pack(IMAGE) is None
    assert not state.cached(IMAGE)
    assert not state.floors.exists()


def test_without_pinned_roots_nothing_is_believed(tmp_path: Path) -> None:
    with pytest.raises(DistrustedError, match="enrol") as caught:
        TrustState(tmp_path).pinned(IMAGE)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_metadata_is_replaced_as_a_whole_and_the_same_again_writes_nothing(state: TrustState, tmp_path: Path) -> None:
    state.keep(IMAGE, verified(tmp_path / "verified", b"1"))
    kept = tmp_path / "trust" / IMAGE
    before = {path: path.stat().st_ino for path in kept.rglob("*")}
    state.keep(IMAGE, tmp_path / "verified")
    assert {path: path.stat().st_ino for path in kept.rglob("*")} == before
    (tmp_path / "trust" / ".staging-image").mkdir()  # of a power cut
    state.keep(IMAGE, verified(tmp_path / "verified", b"2"))
    assert state.cached(IMAGE) == {"timestamp.json": b"2", "root.json": b"root", "1.root.json": b"root"}
    assert not (kept / "root.json").is_symlink()
    assert [path.name for path in kept.parent.iterdir() if path.name.startswith(".")] == []


def test_a_workspace_has_the_roots_of_before_and_leaves_nothing(state: TrustState, tmp_path: Path) -> None:
    state.keep(IMAGE, verified(tmp_path / "verified", b"1"))
    left = tmp_path / "trust" / ".work-image-killed"
    left.mkdir()
    with state.workspace(IMAGE) as folder:
        assert [path.name for path in folder.rglob("*.json")] == ["1.root.json"]
        assert not left.exists()
    assert not folder.exists()


def test_a_pack_is_read_no_further_than_its_limit(state: TrustState) -> None:
    state.keep_pack(DIRECTOR, b"x" * (2 * MAX_PACK_BYTES))
    assert len(state.pack(DIRECTOR) or b"") == MAX_PACK_BYTES + 1
