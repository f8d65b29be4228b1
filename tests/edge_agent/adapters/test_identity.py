"""The identity file: secret, whole, and clear about what is wrong with it."""

from pathlib import Path

import pytest

from edge_agent.adapters.identity import Identity, IdentityError, load_identity, save_identity

IDENTITY = Identity("dev", "a" * 64, "http://127.0.0.1:1", "edgeloop/v1", "127.0.0.1", 1883, "secret")


def test_it_is_saved_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    save_identity(tmp_path, IDENTITY)
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600
    assert load_identity(tmp_path) == IDENTITY


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(IDENTITY)
    assert "a" * 64 not in repr(IDENTITY)


def test_what_is_wrong_is_said_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="edge-agent enroll"):
        load_identity(tmp_path)
    save_identity(tmp_path, IDENTITY)
    (tmp_path / "identity.json").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        load_identity(tmp_path)
    (tmp_path / "identity.json").chmod(0o600)
    whole = (tmp_path / "identity.json").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "identity.json").write_bytes(whole[:length])
        with pytest.raises(IdentityError, match="enrol again"):
            load_identity(tmp_path)
