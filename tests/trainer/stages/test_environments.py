"""Environments are whole or absent, apart from the trainer's own packages, and what cannot be made has a reason."""

import platform
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract.manifest import Runtime
from tests.fakes.wheels import only_from, write_wheel
from trainer.core.releases import Release
from trainer.errors import ChildError, RuntimeUnavailableError, UsageError
from trainer.stages import environments
from trainer.stages.children import run_model
from trainer.stages.environments import list_environments, make_environment, remove_environment

NUMPY = Release("numpy", "9.9")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip sees, and a cache of environments of its own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    only_from(folder, monkeypatch)
    monkeypatch.setenv(environments.FOLDER_VARIABLE, str(tmp_path / "kept"))
    return folder


@pytest.mark.system
def test_it_is_made_once_and_kept(wheels: Path) -> None:
    write_wheel(wheels, "numpy", "9.9")
    made = make_environment(NUMPY)
    assert (made.packages / "numpy" / "__init__.py").is_file()
    next(wheels.iterdir()).unlink()
    assert make_environment(NUMPY) == made
    assert list_environments() == (made,)
    assert [path.name for path in made.packages.parent.iterdir()] == ["numpy==9.9"]
    remove_environment(NUMPY)
    assert list_environments() == ()
    with pytest.raises(UsageError, match="is not here"):
        remove_environment(NUMPY)


@pytest.mark.system
def test_what_has_no_wheel_is_refused_and_leaves_nothing(wheels: Path) -> None:
    write_wheel(wheels, "numpy", "9.9", tag="cp27-cp27m-win32")
    with pytest.raises(
        RuntimeUnavailableError, match=rf"numpy==9\.9 has no wheel for Python 3\.\d+ on {platform.machine()}"
    ):
        make_environment(NUMPY)
    assert list(environments.environments_folder().iterdir()) == []


@pytest.mark.system
def test_an_index_out_of_reach_is_no_missing_wheel(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound and not listening: what connects is refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        with pytest.raises(RuntimeUnavailableError, match="pip reaches no package index"):
            make_environment(NUMPY)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(environments.FOLDER_VARIABLE, str(tmp_path / "file" / "kept"))
    with pytest.raises(RuntimeUnavailableError, match="cannot be written: Not a directory"):
        make_environment(NUMPY)


def test_another_process_may_be_faster(wheels: Path) -> None:
    """Two that make the same environment end with one, and neither fails."""
    kept = environments.environments_folder() / str(NUMPY)
    for _ in range(2):
        new = wheels / "new"
        new.mkdir()
        (new / "numpy.py").write_text("")
        kept.parent.mkdir(parents=True, exist_ok=True)
        environments._put(new, kept)
        assert [path.name for path in kept.iterdir()] == ["numpy.py"]


def test_the_cache_is_the_user_s_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environments.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = f"{sys.implementation.cache_tag}-{platform.machine()}"
    assert environments.environments_folder() == tmp_path / "edgeloop" / "runtimes" / name


@pytest.mark.system
def test_a_child_sees_no_package_but_the_environment_s(wheels: Path, tmp_path: Path) -> None:
    """The trainer has an onnxruntime; in an environment without one there is none."""
    write_wheel(wheels, "numpy", "9.9")
    model = tmp_path / "model.onnx"
    model.write_bytes(b"")
    x = np.zeros((1, 1), dtype=np.float32)
    with pytest.raises(ChildError, match="No module named 'onnxruntime'"):
        run_model(model, Runtime.ONNX, x, {}, environment=make_environment(NUMPY))
