"""The conformance client against a small repository over HTTP: init, refresh, download, and what it refuses."""

import functools
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from tests.conformance.client import main
from tests.fakes.trust_repository import FakeRepository, put

CONTENT = b"the content of a target"
NAME = "folder/file.txt"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Say nothing."""


class Site:
    """A repository on a web server, and the client's folders."""

    def __init__(self, folder: Path, url: str) -> None:
        self.repo = FakeRepository()
        self.folder = folder
        self.url = url
        target = TargetFile.from_data(NAME, CONTENT, ["sha256"])
        self.hash = target.hashes["sha256"]
        put(self.repo.targets, target)
        self.repo.publish()
        (folder / "client").mkdir()
        (folder / "first.json").write_text(self.repo.first_root)
        self.put_target(CONTENT)
        self.serve()

    def serve(self) -> None:
        for name, data in self.repo.files.items():
            path = self.folder / "site" / "metadata" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def put_target(self, data: bytes) -> None:
        path = self.folder / "site" / "targets" / "folder" / f"{self.hash}.file.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def words(self, *command: str) -> list[str]:
        found = ["--metadata-dir", str(self.folder / "client")]
        if command[0] != "init":
            found += ["--metadata-url", f"{self.url}/metadata"]
        if command[0] == "download":
            found += ["--target-name", command[1], "--target-base-url", f"{self.url}/targets"]
            found += ["--target-dir", str(self.folder / "out")]
            return [*found, "download"]
        return [*found, *command]

    def call(self, *command: str) -> int:
        return main(self.words(*command))

    def held(self) -> dict[str, int]:
        """The versions that the client shows, by role."""
        files = (self.folder / "client").glob("*.json")
        return {path.stem: json.loads(path.read_text())["signed"]["version"] for path in files}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = Site(tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
        assert made.call("init", str(tmp_path / "first.json")) == 0
        yield made
        server.shutdown()


def test_it_shows_what_it_believes_by_plain_names(site: Site) -> None:
    assert site.held() == {"root": 1}
    assert site.call("refresh") == 0
    assert site.held() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    site.repo.rotate("root")
    site.repo.publish()
    site.serve()
    assert site.call("refresh") == 0
    assert site.held() == {"root": 2, "timestamp": 3, "snapshot": 3, "targets": 3}


def test_it_refuses_to_go_back_and_keeps_what_it_had(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.call("refresh") == 0
    site.repo.publish(timestamp=1)
    site.serve()
    assert site.call("refresh") == 1
    assert "timestamp 1 is below 2" in capsys.readouterr().err
    assert site.held()["timestamp"] == 2


def test_a_target_is_downloaded_verified_and_not_twice(site: Site) -> None:
    assert site.call("download", NAME) == 0
    (found,) = (site.folder / "out").iterdir()
    assert found.read_bytes() == CONTENT
    site.put_target(b"not the content of a ta")
    assert site.call("download", NAME) == 0  # what is here and matches is not fetched again
    found.unlink()
    assert site.call("download", NAME) == 1
    assert not list((site.folder / "out").iterdir())
    assert site.call("download", "no/such/file") == 1


def test_the_command_ends_with_the_codes_of_the_protocol(site: Site) -> None:
    command = [sys.executable, "-m", "tests.conformance.client"]
    assert subprocess.run([*command, *site.words("refresh")], check=False).returncode == 0
    site.repo.publish(keys={"snapshot": []})
    site.serve()
    failed = subprocess.run([*command, *site.words("refresh")], check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "snapshot" in failed.stderr
