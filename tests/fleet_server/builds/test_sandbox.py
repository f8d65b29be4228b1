"""The box: what is seen and what may be done inside of it, and what a server does that has none."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_server.builds import child, sandbox, warden
from fleet_server.builds.sandbox import INSTALL, Limits, Sandbox, choose_sandbox, find_bubblewrap
from fleet_server.config import BuildSandbox, ServerConfig
from tests.fakes.builds import Pretend, ask, ended, real_box, upload, wait_for, working
from tests.fakes.server_app import served

pytestmark = pytest.mark.system
INSIDE = """
import json, os, pathlib, resource, socket, sys
def refused(deed):
    try: deed()
    except OSError: return True
    return False
def write(path): return lambda: pathlib.Path(path).write_text("x")
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "secret": pathlib.Path(sys.argv[1]).exists(),
    "hidden": sorted(path.name for path in pathlib.Path(sys.argv[2]).iterdir()),
    "network": [name for _, name in socket.if_nameindex() if name != "lo"],
    "connects": not refused(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 2)),
    "writes": [path for path in sys.argv[4:] if not refused(write(path))],
    "settings": [path for path in ("/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj", "/proc/sysrq-trigger")
                 if not refused(lambda: open(path, "r+b").close())],
    "capabilities": int(status["CapEff"], 16),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "environment": sorted(os.environ),
    "limits": [resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0] for name in
               ("DATA", "CPU", "FSIZE", "NOFILE", "CORE")],
    "tasks": resource.getrlimit(resource.RLIMIT_NPROC)[0],
}))
"""


def run(box: Sandbox, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = box.wrap([sys.executable, "-c", INSIDE, *arguments], folder, Limits(500, 20))
    return subprocess.run(
        command, cwd=folder, env={"HOME": "/"}, capture_output=True, text=True, timeout=60, check=False
    )


def test_inside_there_is_one_folder_and_nothing_of_the_server(tmp_path: Path) -> None:
    """Where user namespaces are not allowed, a box is refused, and that is what this test sees."""
    import socket

    data, folder = tmp_path / "data", tmp_path / "data" / "builds" / "op-1"
    folder.mkdir(parents=True)
    (data / "key").write_text("secret")
    box = real_box(data)
    if box.bwrap is None:
        assert choose_sandbox(data, required=True).refusal
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        places = [str(folder / "mine"), "/tmp/x", "/dev/shm/x", "/dev/x", "/x", str(data / "x"), f"{sys.prefix}/x"]
        done = run(box, folder, str(data / "key"), str(data), str(listener.getsockname()[1]), *places)
    assert done.returncode == 0, done.stderr
    inside = json.loads(done.stdout)
    assert inside["secret"] is False
    assert inside["hidden"] == ["builds"]
    assert (inside["network"], inside["connects"]) == ([], False)
    assert inside["writes"] == [str(folder / "mine")]
    assert (inside["settings"], inside["capabilities"]) == ([], 0)
    assert inside["processes"] <= 3
    assert set(inside["environment"]) <= {"HOME", "LC_CTYPE", "PWD", "LD_LIBRARY_PATH"}
    assert inside["limits"] == [500 * 2**20, 21, 2048 * 2**20, 1024, 0]
    assert inside["tasks"] < 300


def test_data_below_a_folder_that_is_seen_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may keep its state below /usr, or beside its packages."""
    data, folder = tmp_path / "usr" / "state", tmp_path / "usr" / "state" / "builds" / "op-1"
    folder.mkdir(parents=True)
    (data / "key").write_text("secret")
    (tmp_path / "usr" / "library").write_text("code")
    monkeypatch.setattr(sandbox, "_SYSTEM", (*sandbox._SYSTEM, str(tmp_path / "usr")))
    box = real_box(data)
    if box.bwrap is None:
        assert choose_sandbox(data, required=True).refusal
        return
    seen = json.loads(run(box, folder, str(tmp_path / "usr" / "library"), str(data), "1").stdout)
    assert seen["secret"] is True, "the library beside it is seen"
    assert seen["hidden"] == ["builds"]


def test_the_documentation_names_the_limits_that_hold() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "server-builds.md").read_text(encoding="utf-8")
    config = ServerConfig()
    held = Limits(config.build_memory_mb, config.build_timeout_s, disk_mb=config.build_disk_mb)
    said = re.findall(r"\d+", page.split("## Without bubblewrap")[0])
    told = (held.memory_mb, int(held.timeout_s), held.file_mb, held.disk_mb, held.files, held.processes, held.tasks)
    told += (held.reserve_mb, held.output_lines, held.output_bytes >> 20, warden._DEEPEST, child._TOLD_LINES)
    assert {str(number) for number in told} <= set(said)


@pytest.fixture
def found_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Bubblewrap is looked for again, before and after."""
    find_bubblewrap.cache_clear()
    yield monkeypatch
    find_bubblewrap.cache_clear()


def broken(tmp_path: Path, found_anew: pytest.MonkeyPatch, program: str | None) -> None:
    place = tmp_path / "bwrap"
    if program is not None:
        place.write_text(f"#!/bin/sh\n{program}\n")
        place.chmod(0o755)
    found_anew.setenv("EDGELOOP_BWRAP", str(place))
    find_bubblewrap.cache_clear()


FAILURES = {
    "absent": (None, "bubblewrap is not installed"),
    "forbidden": ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create new"),
    "crash": ("kill -SEGV $$", "does not work here"),
}


@pytest.mark.parametrize(("program", "why"), FAILURES.values(), ids=FAILURES)
def test_without_a_box_that_works_a_server_beyond_loopback_builds_nothing(
    tmp_path: Path, found_anew: pytest.MonkeyPatch, program: str | None, why: str
) -> None:
    broken(tmp_path, found_anew, program)
    with served(tmp_path / "far", host="0.0.0.0") as fleet:
        answer = ask(fleet, 501)
        assert why in answer["detail"]
        assert INSTALL in answer["detail"]
        assert not (fleet.folder / "data" / "builds").exists()
        assert any(why in note for note in fleet.call("GET", "/fleet")["server"]["notes"])


def test_without_a_box_a_server_on_loopback_goes_on_with_limits_and_says_so(
    tmp_path: Path, found_anew: pytest.MonkeyPatch
) -> None:
    broken(tmp_path, found_anew, None)
    with served(tmp_path) as fleet:
        box = Pretend("raise SystemExit('reached')", fleet.server.sandbox, fleet.server.sandbox.notice)
        with working(fleet, box):
            found = wait_for(fleet, ask(fleet)["id"], ended)
    assert found["error"] == "reached"
    assert "builds run with limits alone" in found["progress"][0]
    assert INSTALL in found["progress"][0]


def test_a_build_that_waited_is_refused_when_the_box_is_gone_after_a_restart(
    tmp_path: Path, found_anew: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as fleet:
        identity = ask(fleet)["id"]
    broken(tmp_path, found_anew, None)
    with served(tmp_path, build_sandbox="required") as fleet, working(fleet, fleet.server.sandbox):
        found = wait_for(fleet, identity, ended)
    assert found["state"] == "failed"
    assert INSTALL in found["error"]


@pytest.mark.parametrize(
    ("rule", "host", "required"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "::1", False),
        ("auto", "0.0.0.0", True),
        ("auto", "fleet.local", True),
        ("required", "127.0.0.1", True),
        ("limits", "fleet.local", False),
    ],
)
def test_who_needs_a_box(rule: BuildSandbox, host: str, required: bool) -> None:
    assert ServerConfig(host=host, build_sandbox=rule).sandbox_required is required


def test_an_unknown_rule_is_no_configuration() -> None:
    with pytest.raises(ValueError, match="build_sandbox is one of auto, required, limits"):
        ServerConfig(build_sandbox="none")  # type: ignore[arg-type]  # what a caller may get wrong


PICKLES = [".joblib", ".pkl", ".pickle"]


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_needs_the_word_of_who_asks_and_of_the_server(tmp_path: Path, kind: str) -> None:
    with served(tmp_path / "strict") as fleet:
        assert "runs code" in upload(fleet, "model" + kind, b"x", expected=422)["detail"]
        assert "--accept-pickles" in upload(fleet, "model" + kind, b"x", expected=403, allow_pickle="true")["detail"]
    with served(tmp_path / "open", accept_pickles=True) as fleet:
        assert "runs code" in upload(fleet, "model" + kind, b"x", expected=422)["detail"]
        if fleet.server.sandbox.bwrap is not None:
            upload(fleet, "model" + kind, b"x", expected=202, allow_pickle="true")


def test_a_pickle_is_never_loaded_outside_of_a_box(tmp_path: Path, found_anew: pytest.MonkeyPatch) -> None:
    broken(tmp_path, found_anew, None)
    with served(tmp_path, accept_pickles=True, build_sandbox="limits") as fleet:
        answer = upload(fleet, "model.pkl", b"x", expected=501, allow_pickle="true")
        assert INSTALL in answer["detail"]
        ask(fleet)
