"""Hostile uploads through the whole way: HTTP, the box, the real trainer. The server keeps its secrets and goes on."""

import contextlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from fleet_server.builds.sandbox import INSTALL
from tests.fakes import hostile_files
from tests.fakes.builds import ended, leftovers, processes_with, real_box, upload, wait_for, wait_until, working
from tests.fakes.server_app import Served, served
from tests.fakes.trainer_models import rows

pytestmark = pytest.mark.system
LIMITS: dict[str, Any] = {"memory_mb": 1500, "timeout_s": 60, "disk_mb": 200, "file_mb": 100, "processes": 20}
X, Y = rows(0, n=60, columns=2)
CSV = ("a,b,target\n" + "".join(f"{a},{b},{label}\n" for (a, b), label in zip(X, Y, strict=True))).encode()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, accept_pickles=True) as found:
        yield found


def build(
    fleet: Served, name: str, content: bytes, table: bytes = CSV, limits: dict[str, Any] | None = None, **more: str
) -> Any:
    """Build an upload to its end; whatever it was, nothing of it is left, and the server answers."""
    with working(fleet, real_box(fleet.folder / "data"), **(LIMITS | (limits or {}))):
        identity = upload(fleet, name, content, table, **more)["id"]
        found = wait_for(fleet, identity, ended, 120)
        assert wait_until(lambda: leftovers(fleet) == [])
        assert wait_until(lambda: processes_with(identity) == [])
    fleet.call("GET", "/fleet")
    return found


def good() -> bytes:
    return bytes(skops.io.dumps(LogisticRegression().fit(X, Y)))


def spoiled() -> bytes:
    tree = DecisionTreeClassifier(random_state=0).fit(X, Y)
    return hostile_files.with_spoiled_tree(tree, tree.tree_, left_child=2**40)


FILES: dict[str, tuple[str, Any, str]] = {
    "pickle-in-disguise": ("m.skops", lambda: hostile_files.acting_pickle("raise SystemExit"), "no skops file"),
    "unknown-type": ("m.skops", lambda: skops.io.dumps(FunctionTransformer(Path.unlink)), "not known to be safe"),
    "swelling": ("m.skops", lambda: hostile_files.swelling_skops(1100 << 20), "more than is accepted"),
    "tree-that-leads-anywhere": ("m.skops", spoiled, "a tree of the model"),
    "no-onnx": ("m.onnx", lambda: b"\x08\x07" + bytes(range(256)), "ONNX"),
}


@pytest.mark.parametrize(("name", "content", "words"), FILES.values(), ids=FILES)
def test_a_file_that_is_not_what_it_says_is_refused_in_the_trainers_words(
    fleet: Served, name: str, content: Any, words: str
) -> None:
    found = build(fleet, name, content(), task="classification")
    assert found["state"] == "failed"
    assert words in found["error"]
    assert not any("Traceback" in line for line in found["progress"]), "the operator is told why, not where in the code"
    assert "Traceback" not in found["error"]


DATA: dict[str, tuple[str, Any, str]] = {
    "pickle-of-objects": ("rows.npz", lambda: hostile_files.npz_with_a_pickle("raise SystemExit"), "no arrays x, y"),
    "claims-of-rows": ("rows.npz", lambda: hostile_files.claiming_npz(10**12), "no arrays x, y"),
    "no-target": ("rows.csv", lambda: b"a,b\n1,2\n", "there is no column 'target'"),
}


@pytest.mark.parametrize(("name", "content", "words"), DATA.values(), ids=DATA)
def test_hostile_rows_fail_the_build_in_the_trainers_words(fleet: Served, name: str, content: Any, words: str) -> None:
    found = build(fleet, "m.skops", good(), content(), data=name)
    assert found["state"] == "failed"
    assert words in found["error"]


PROGRAMS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "crash": ("import os; os.kill(os.getpid(), 11)", {}, ("SIGSEGV",)),
    "hang": ("import threading; threading.Event().wait()", {"timeout_s": 15}, ("more than 15 s",)),
    "memory": ("held = bytearray(2 << 30)", {}, ("MemoryError",)),
    "disk": (
        "for n in range(9): open(f'x{n}', 'wb').write(bytes(90 << 20))\nimport threading; threading.Event().wait()",
        {},
        ("wrote more than 200 MiB",),
    ),
    "forks": (
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
        {},
        ("processes and was ended",),
    ),
    "flood": ("while True: print('x' * 1000)", {}, ("than a trainer has to say",)),
}


@pytest.mark.parametrize(("program", "limits", "words"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_pickle_that_was_let_in_harms_its_own_build_alone(
    fleet: Served, program: str, limits: dict[str, Any], words: tuple[str, ...]
) -> None:
    content = hostile_files.acting_pickle(program)
    if fleet.server.sandbox.bwrap is None:  # where no box can be made, no pickle is loaded
        refusal = upload(fleet, "m.pkl", content, CSV, expected=501, allow_pickle="true")
        assert INSTALL in refusal["detail"]
        return
    found = build(fleet, "m.pkl", content, limits=limits, allow_pickle="true")
    assert found["state"] == "failed"
    assert any(word in found["error"] for word in words), found["error"]


def test_a_pickle_that_was_let_in_finds_no_secret_and_no_way_out(fleet: Served) -> None:
    if fleet.server.sandbox.bwrap is None:
        upload(fleet, "m.pkl", b"x", CSV, expected=501, allow_pickle="true")
        return
    secrets = sorted(map(str, (fleet.folder / "data").rglob("*")))
    assert any(path.endswith(".key") or "key" in path for path in secrets)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        program = (
            "import os, socket\n"
            f"seen = [path for path in {secrets!r} if os.path.isfile(path)]\n"
            "def connects():\n"
            f"    try: socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 2); return True\n"
            "    except OSError: return False\n"
            "raise SystemExit(f'seen {seen} connected {connects()} environment {sorted(os.environ)}')\n"
        )
        found = build(fleet, "m.pkl", hostile_files.acting_pickle(program), allow_pickle="true")
        with contextlib.suppress(TimeoutError):
            raise AssertionError(f"the box reached {listener.accept()[1]}")
    assert "seen [] connected False" in found["error"]
    assert "EDGELOOP" not in found["error"]


def test_a_pickle_of_ones_own_is_built_where_both_agreed(fleet: Served) -> None:
    import joblib

    buffer = io.BytesIO()
    joblib.dump(LogisticRegression().fit(X, Y), buffer)
    if fleet.server.sandbox.bwrap is None:
        upload(fleet, "m.joblib", buffer.getvalue(), CSV, expected=501, allow_pickle="true")
        return
    found = build(fleet, "m.joblib", buffer.getvalue(), limits={"timeout_s": 240}, allow_pickle="true")
    assert found["state"] == "succeeded", found
    assert np.isfinite(fleet.call("GET", "/models/digits/versions/1")["version"])
