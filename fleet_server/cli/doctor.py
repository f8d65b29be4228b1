"""`edgeloop doctor`: what this machine has and lacks for a server, a build, and talking to one."""

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from fleet_server.builds.sandbox import INSTALL, find_bubblewrap
from fleet_server.cli.client import connect
from fleet_server.cli.context import context_path, load_context
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, field, print_json, print_table

Verdict = Literal["ok", "note", "bad"]
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")
MARKS = {"ok": "✓ ok", "note": "! note", "bad": "✗ bad"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what helps where it is not well."""

    name: str
    verdict: Verdict
    found: str
    hint: str = ""


def doctor(*, host: str = "127.0.0.1", port: int = 8000, output: Output = "table") -> int:
    """Check this machine and the server; exit code 3 when something is wrong.

    Parameters
    ----------
    host
        The address that the server listens on, or would.
    port
        The port that the server listens on, or would.
    """
    checks = [
        _python(),
        _mosquitto(host, os.environ),
        _bubblewrap(host),
        _trainer(),
        *_server(os.environ, host, port),
    ]
    if output == "json":
        print_json([{"name": c.name, "verdict": c.verdict, "found": c.found, "hint": c.hint} for c in checks])
    else:
        columns = (
            Column("", lambda row: MARKS[row["verdict"]]),
            Column("CHECK", field("name")),
            Column("FOUND", field("found")),
            Column("HINT", field("hint")),
        )
        rows = [{"name": c.name, "verdict": c.verdict, "found": c.found, "hint": c.hint} for c in checks]
        print_table(rows, columns)
    return Exit.UNHEALTHY if any(check.verdict == "bad" for check in checks) else Exit.DONE


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("python", "ok" if good else "bad", found, "" if good else "use Python 3.11, 3.12 or 3.13")


def find_mosquitto(environment: Mapping[str, str]) -> str | None:
    """Return the Mosquitto that `--broker auto` would start: `$EDGELOOP_MOSQUITTO`, on PATH, or in /usr/sbin."""
    chosen = environment.get("EDGELOOP_MOSQUITTO")
    if chosen:
        return shutil.which(chosen)
    places = os.pathsep.join(filter(None, [environment.get("PATH"), "/usr/sbin", "/usr/local/sbin"]))
    return shutil.which("mosquitto", path=places)


def _mosquitto(host: str, environment: Mapping[str, str]) -> Check:
    found = find_mosquitto(environment)
    if found:
        return Check("mosquitto", "ok", found)
    beyond = host not in LOOPBACK_HOSTS
    where = f"not found; a listener on {host} needs it" if beyond else "not found; iotcore serves, on loopback only"
    return Check("mosquitto", "bad" if beyond else "note", where, "apt-get install mosquitto")


def _bubblewrap(host: str) -> Check:
    found, why = find_bubblewrap()
    if found:
        return Check("bubblewrap", "ok", f"{found}: uploads are built without network and other files")
    beyond = host not in LOOPBACK_HOSTS
    then = (
        f"a server on {host} builds no uploads" if beyond else "uploads are built with limits alone, on loopback only"
    )
    return Check("bubblewrap", "bad" if beyond else "note", f"{why}; {then}", INSTALL)


def _trainer() -> Check:
    missing = [name for name in ("sklearn", "skl2onnx", "onnx", "skops") if find_spec(name) is None]
    if not missing:
        return Check("trainer", "ok", "installed: this machine can build models")
    found = f"{', '.join(missing)} not installed; finished versions can be pushed, builds cannot run"
    return Check("trainer", "note", found, "pip install 'edgeloop[trainer]'")


def _server(environment: Mapping[str, str], host: str, port: int) -> list[Check]:
    try:
        context = load_context(environment)
    except CommandError as error:
        return [Check("context", "bad", f"{error.what}: {error.why}", error.hint), _port(host, port)]
    source = "$EDGELOOP_URL" if environment.get("EDGELOOP_URL") else str(context_path(environment))
    checks = [Check("context", "ok", f"{context.url} (from {source})"), _tls(context.url, context.ca)]
    try:
        with connect() as client:
            fleet = client.get("/fleet")
    except CommandError as error:
        return [*checks, Check("server", "bad", f"{error.what}: {error.why}", error.hint), _port(host, port)]
    server = fleet.get("server", {})
    online = f"{fleet.get('online')} of {fleet.get('devices')} devices online"
    notes = [Check("server", "note", str(note)) for note in server.get("notes", ())]
    said = Check("server", "ok", f"version {server.get('version')}, {online}")
    return [*checks, said, _broker(context.url, server, connected=fleet.get("broker_connected", True)), *notes]


def _tls(url: str, ca: str | None) -> Check:
    if url.startswith("https://"):
        return Check("tls", "ok", f"on; checked by {ca or 'the public certificate authorities'}")
    if url.startswith(LOOPBACK):
        return Check("tls", "ok", "none, and none needed: the server is on loopback")
    hint = "edgeloop up --host … (beyond loopback it serves https)"
    return Check("tls", "bad", f"{url} is plain HTTP beyond loopback: the API key can be read on the way", hint)


def _broker(url: str, server: Mapping[str, object], *, connected: bool) -> Check:
    kind = str(server.get("kind") or "unknown")
    found = f"{kind} at {server.get('broker')}" if server.get("broker") else kind
    if not connected:
        return Check("broker", "bad", f"{found}: the server has no connection to it", "look at the server's log")
    if kind != "iotcore":
        return Check("broker", "ok", found)
    beyond = not url.startswith(LOOPBACK)
    hint = "apt-get install mosquitto, then edgeloop up --broker mosquitto"
    return Check("broker", "bad" if beyond else "note", f"{found}: to try out; it has no access lists", hint)


def _port(host: str, port: int) -> Check:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Check("port", "bad", f"{host}:{port} cannot be used: {error.strerror}", "edgeloop up --port 0")
    return Check("port", "ok", f"{host}:{port} is free for a server")
