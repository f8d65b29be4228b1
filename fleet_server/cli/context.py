"""Which server a command talks to: `$EDGELOOP_URL` and `$EDGELOOP_API_KEY`, else the context that `up` wrote."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.contract import codec
from fleet_server.cli.failures import CommandError, Exit

URL_VARIABLE = "EDGELOOP_URL"
KEY_VARIABLE = "EDGELOOP_API_KEY"
CA_VARIABLE = "EDGELOOP_CA"
CONTEXT_VARIABLE = "EDGELOOP_CONTEXT"


@dataclass(frozen=True, slots=True)
class Context:
    """A server's address, the API key, and the file of the certificate that its TLS chains to, if not a public one."""

    url: str
    api_key: str
    ca: str | None = None


def context_path(environment: Mapping[str, str]) -> Path:
    """Return where the context is kept: `$EDGELOOP_CONTEXT`, else `~/.config/edgeloop/context.json`."""
    if chosen := environment.get(CONTEXT_VARIABLE):
        return Path(chosen)
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "edgeloop" / "context.json"


def load_context(environment: Mapping[str, str]) -> Context:
    """Return the server to talk to; variables overrule the file, each on its own.

    Raises:
        CommandError: there is neither, or the file is not a context.
    """
    stored = _read(context_path(environment))
    url = environment.get(URL_VARIABLE) or (stored.url if stored else "")
    if not url:
        raise CommandError(
            "no server is known",
            f"neither ${URL_VARIABLE} is set nor does {context_path(environment)} exist",
            "edgeloop up",
            Exit.CONFIGURATION,
        )
    key = environment.get(KEY_VARIABLE) or (stored.api_key if stored else "")
    return Context(url.rstrip("/"), key, environment.get(CA_VARIABLE) or (stored.ca if stored else None))


def save_context(path: Path, context: Context) -> None:
    """Write the context for the next commands, readable by its owner alone, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(codec.to_plain(context), file, indent=2)
        file.write("\n")
    draft.replace(path)


def _read(path: Path) -> Context | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path} cannot be read", str(error), f"ls -l {path}", Exit.CONFIGURATION) from error
    try:
        return codec.decode(Context, data, unknown="refuse")
    except codec.MalformedError as error:
        raise CommandError(f"{path} is not a context", str(error), "edgeloop up", Exit.CONFIGURATION) from error
