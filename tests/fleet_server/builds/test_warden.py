"""Programs that take too much or will not end: the build fails with its reason, nothing of it lives on.

Each runs in both kinds of box, in which a hostile program stands for the trainer; the server answers all the while.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_server.builds.sandbox import Limits
from tests.fakes.builds import (
    WALLS,
    Pretend,
    ask,
    ended,
    leftovers,
    processes_with,
    real_box,
    wait_for,
    wait_until,
    working,
)
from tests.fakes.server_app import Served, served

pytestmark = pytest.mark.system
SPIN = "import os, threading; os.write(1, b'at work\\n'); threading.Event().wait()"
# A grandchild that leaves the group and the session, and is an orphan: only its descent tells whose it is.
ESCAPE = f"""
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", {SPIN!r}, os.getcwd()])
    os._exit(0)
os.wait()
subprocess.Popen([sys.executable, "-c", {SPIN!r}, os.getcwd()])
"""
SMALL: dict[str, Any] = {"memory_mb": 300, "disk_mb": 64, "file_mb": 32, "files": 500, "processes": 20, "tasks": 400}

MANY = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        held = bytearray(b"x") * (120 << 20)
        time.sleep(60)
os.wait()
"""
SHARED = """
import mmap, time
held = mmap.mmap(-1, 400 << 20)
for at in range(0, 400 << 20, 4096): held[at] = 1
time.sleep(60)
"""
LARGE_FILES = """
import time
for number in range(9): open(f"x{number}", "wb").write(bytes(range(256)) * (20 << 12))
time.sleep(60)
"""
FILES = """
import time
for number in range(2000): open(f"x{number}", "w").close()
time.sleep(60)
"""
FOLDERS = """
import os, time
for _ in range(200): os.mkdir("x"); os.chdir("x")
time.sleep(60)
"""
FORKS = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
THREADS = """
import threading
for _ in range(3000): threading.Thread(target=threading.Event().wait, daemon=True).start()
threading.Event().wait()
"""
DEAF = """
import os, signal, threading
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
os.close(1); os.close(2); threading.Event().wait()
"""
SHORT = {"timeout_s": 1.0}
ATTACKS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "memory": ("bytearray(900 << 20)", {}, ("MemoryError",)),
    "memory-of-many": (MANY, {}, ("more than 300 MiB of memory",)),
    "shared-memory": (SHARED, {}, ("more than 300 MiB of memory",)),
    "large-file": ("open('x', 'wb').truncate(40 << 20)", {}, ("File too large",)),
    "many-large-files": (LARGE_FILES, {}, ("wrote more than 64 MiB",)),
    "many-files": (FILES, {}, ("more than 500 files",)),
    "deep-folders": (FOLDERS, {}, ("more than 32 deep",)),
    "forks": (FORKS, {}, ("processes and was ended",)),
    # Root has threads without limit, but no memory for them.
    "threads": (THREADS, {"timeout_s": 4.0}, ("can't start new thread", "MemoryError", "more than 4 s", "of memory")),
    "flood": ("while True: print('word ' * 100)", {}, ("than a trainer has to say",)),
    "flood-of-lines": ("import os\nwhile True: os.write(1, b'a\\n' * 30000)", {}, ("than a trainer has to say",)),
    "flood-without-end": ("import os\nwhile True: os.write(1, b'a' * 65536)", {}, ("than a trainer has to say",)),
    "hang": (SPIN, SHORT, ("more than 1 s",)),
    "loop": ("while True: pass", SHORT, ("more than 1 s",)),
    "deaf": (DEAF, SHORT, ("more than 1 s",)),
    "crash": ("import os; os.kill(os.getpid(), 11)", {}, ("SIGSEGV",)),
    "abort": ("import os; os.abort()", {}, ("SIGABRT",)),
    "own-end": ("import os; os.kill(os.getpid(), 9)", {}, ("SIGKILL",)),
}


@pytest.fixture(params=WALLS)
def walls(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def pretend(fleet: Served, program: str, walls: str) -> Pretend:
    return Pretend(program, real_box(fleet.folder / "data", walls))


@pytest.mark.parametrize(("program", "limits", "words"), ATTACKS.values(), ids=ATTACKS)
def test_it_fails_with_its_reason(
    fleet: Served, walls: str, program: str, limits: dict[str, Any], words: tuple[str, ...]
) -> None:
    with working(fleet, pretend(fleet, program, walls), **(SMALL | limits)):
        identity = ask(fleet)["id"]
        found = wait_for(fleet, identity, ended)
        assert found["state"] == "failed"
        assert any(word in found["error"] for word in words), found["error"]
        assert wait_until(lambda: leftovers(fleet) == [])
        assert processes_with(identity) == []
    assert len(found["progress"]) <= 200
    assert fleet.call("GET", "/models")["items"] == []


def test_the_next_build_is_worked_on(fleet: Served, walls: str) -> None:
    with working(fleet, pretend(fleet, FOLDERS, walls), **SMALL):
        waiting = [ask(fleet)["id"] for _ in range(3)]
        assert ["more than 32 deep" in wait_for(fleet, identity, ended)["error"] for identity in waiting] == [True] * 3


def test_what_a_build_left_running_ends_with_it(fleet: Served, walls: str) -> None:
    """Its orphans hold the output open; the build has ended all the same."""
    with working(
        fleet, pretend(fleet, ESCAPE + """print('{"error": "done"}'); raise SystemExit(1)""", walls), timeout_s=60
    ):
        identity = ask(fleet)["id"]
        assert "done" in wait_for(fleet, identity, ended, 30)["error"]
        assert wait_until(lambda: processes_with(identity) == [])


@pytest.mark.parametrize("by", ["cancel", "deadline", "stop"])
def test_all_that_descends_from_it_is_killed(fleet: Served, walls: str, by: str) -> None:
    box = pretend(fleet, ESCAPE + SPIN, walls)
    with working(fleet, box, timeout_s=6.0 if by == "deadline" else 60.0) as builder:
        identity = ask(fleet)["id"]
        wait_for(fleet, identity, lambda found: found["progress"].count("at work") == 3)
        # The warden, what it started, and two that are on their own.
        assert len(processes_with(identity)) >= 4
        if by == "cancel":
            assert fleet.call("DELETE", f"/operations/{identity}")["state"] == "cancelled"
            fleet.call("DELETE", f"/operations/{identity}", 409)
        if by == "stop":
            builder.stop()
        found = wait_for(fleet, identity, ended)
        assert wait_until(lambda: processes_with(identity) == [])
        assert wait_until(lambda: leftovers(fleet) == [])
    assert found["state"] == ("cancelled" if by == "cancel" else "failed")
    assert {"cancel": "cancelled", "deadline": "more than 6 s", "stop": "server stopped"}[by] in found["error"]


def test_a_server_that_dies_takes_its_build_along(tmp_path: Path, walls: str) -> None:
    """kill -9 leaves no time to clean up: the warden sees its parent die."""
    folder = tmp_path / "data" / "builds" / "op-of-the-dead"
    folder.mkdir(parents=True)
    box = real_box(tmp_path / "data", walls)
    program = (
        "import subprocess, sys\nfrom pathlib import Path\nfrom fleet_server.builds.sandbox import Limits, Sandbox\n"
        f"box = Sandbox({box.bwrap!r}, '', Path({str(tmp_path / 'data')!r}))\n"
        f"command = box.wrap([sys.executable, '-c', {ESCAPE + SPIN!r}], Path({str(folder)!r}), Limits(500, 60))\n"
        f"subprocess.run(command, cwd={str(folder)!r}, start_new_session=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert [parent.stdout.readline().strip() for _ in range(3)] == ["at work"] * 3
    assert len(processes_with(folder.name)) >= 4
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: processes_with(folder.name) == [])


def test_a_full_disk_ends_a_build_before_it_stops_the_server(fleet: Served, walls: str) -> None:
    with working(fleet, pretend(fleet, SPIN, walls), reserve_mb=2**40):
        found = wait_for(fleet, ask(fleet)["id"], ended)
    assert "are free on the server's disk" in found["error"]


def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    box = real_box(tmp_path, "limits")
    command = box.wrap(["/nowhere/program"], tmp_path, Limits(500, 20))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "/nowhere/program" in done.stdout + done.stderr or "No such file" in done.stdout + done.stderr
