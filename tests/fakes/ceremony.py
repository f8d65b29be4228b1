"""Release keys outside of a server, and the folder that is carried to them and back."""

import contextlib
import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

import trainer.cli
from tests.fakes.server_app import Served


@dataclass
class Ceremony:
    """One exchange folder and one folder of keys; `said` is what the trainer's commands printed last."""

    fleet: Served
    place: Path
    keys: str = "keys"
    said: str = ""
    calls: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def exchange(self) -> Path:
        return self.place / "exchange"

    @property
    def signed(self) -> Path:
        return self.exchange / "signed"

    def folder(self, name: str | None = None) -> str:
        return str(self.place / (name or self.keys))

    def fetch(self) -> None:
        shutil.rmtree(self.exchange, ignore_errors=True)
        for path, text in self.fleet.call("GET", "/releases/exchange")["files"].items():
            (self.exchange / path).parent.mkdir(parents=True, exist_ok=True)
            (self.exchange / path).write_text(text)

    def trainer(self, *arguments: str, code: int = 0) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = trainer.cli.main(list(arguments))
        self.said = out.getvalue() + err.getvalue()
        assert found == code, self.said

    def files(self) -> dict[str, str]:
        found = sorted(self.signed.rglob("*.json"))
        return {str(path.relative_to(self.signed)): path.read_text() for path in found}

    def push(self, expected: int = 201, files: dict[str, str] | None = None) -> Any:
        return self.fleet.call("POST", "/releases", expected, json={"files": files or self.files()})

    def begin(self) -> None:
        """Hold the ceremony: keys, the first roots, an empty list."""
        self.fetch()
        self.trainer("keys", "init", self.folder(), str(self.exchange), "--no-passphrase")
        self.push()

    def step(self, *arguments: str, keys: str | None = None, expected: int = 201) -> Any:
        """Fetch, run one of the trainer's commands with the keys, and push."""
        self.fetch()
        self.trainer(*arguments, "--keys", self.folder(keys))
        return self.push(expected)

    def sign(self, *options: str, keys: str | None = None, expected: int = 201) -> Any:
        return self.step("sign", str(self.exchange), *options, keys=keys, expected=expected)

    def signer(self, name: str = "release-1") -> CryptoSigner:
        """A key of the folder, for signing what the trainer's commands would not."""
        path = self.place / self.keys / f"{name}.pem"
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))

    def states(self) -> dict[int, str]:
        """How the versions stand that the server lists."""
        return {item["version"]: item["state"] for item in self.fleet.call("GET", "/releases")["items"]}
