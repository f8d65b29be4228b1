"""The README's first five minutes, run as they are printed, in a fresh home and an empty folder.

Blocks of the README are marked: `<!-- run -->` is run in the foreground, `<!-- background: TEXT -->` in the background
until it has printed TEXT, and `<!-- file: NAME -->` is written to a file. Only port numbers are replaced by free ones.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- (run|background|file)(?:: (.+?))? -->\n```\w+\n(.*?)```", re.DOTALL)
DEADLINE_S = 120.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def started(script: str, environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A script in the background, in a process group of its own; its end is waited for."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            ["bash", "-ec", script], env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait(timeout=30)


def wait_for(text: str, log: Path, child: "subprocess.Popen[bytes]") -> None:
    """Wait until a log holds a text."""
    end = time.monotonic() + DEADLINE_S
    while text not in log.read_text():
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.2)


@pytest.mark.system
def test_the_first_five_minutes_work_as_printed(tmp_path: Path) -> None:
    """From nothing to a prediction on a CSV file, by the README alone."""
    text = (ROOT / "README.md").read_text()
    server, api = free_port(), free_port()
    text = text.replace("edgeloop up\n", f"edgeloop up --port {server}\n").replace(
        "127.0.0.1:8000", f"127.0.0.1:{server}"
    )
    text = text.replace("port = 8080", f"port = {api}").replace("127.0.0.1:8080", f"127.0.0.1:{api}")
    environment = {
        **{
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("EDGELOOP_CONTEXT", "EDGELOOP_URL", "EDGELOOP_API"))
        },
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    said = ""
    with contextlib.ExitStack() as stack:
        for number, (kind, argument, body) in enumerate(BLOCK.findall(text)):
            if kind == "file":
                (tmp_path / argument).write_text(body)
            elif kind == "background":
                log = tmp_path / f"background-{number}.log"
                child = stack.enter_context(started(body, environment, log))
                wait_for(argument, log, child)
            else:
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", body],
                    env=environment,
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=DEADLINE_S,
                    check=False,
                    stdin=subprocess.DEVNULL,
                )
                logs = "\n".join(path.read_text()[-3000:] for path in tmp_path.glob("background-*.log"))
                assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}\n{logs}"
                said = done.stdout
    assert "['class_0', 'class_1', 'class_2']" in said
    assert "wine" in said
