"""Problem details (RFC 9457) of the server as what happened, why, and one command that helps."""

from collections.abc import Mapping
from typing import Any

from fleet_server.cli.failures import CommandError, Exit

_LISTS = {
    "devices": "edgeloop device list",
    "models": "edgeloop model list",
    "groups": "edgeloop group list",
    "rollouts": "edgeloop rollout list",
    "operations": "edgeloop operations",
    "tokens": "edgeloop device token list",
    "drift": "edgeloop model list",
    "keys": "edgeloop key list",
    "users": "edgeloop user list",
    "sessions": "edgeloop user session list",
}


def explain_problem(status: int, path: str, body: Any) -> CommandError:
    """Return the error for a refused call; the server's own hint goes before ours."""
    problem = body if isinstance(body, Mapping) else {}
    detail, title = str(problem.get("detail") or ""), str(problem.get("title") or "no problem details")
    what = detail or f"the server answered {status}"
    why = f"the server answered {status} {title}"
    hint = str(problem.get("hint") or _hint(status, path))
    code = Exit.CONFIGURATION if status in (401, 403) else Exit.FAILED
    return CommandError(what, why, hint, code)


def _hint(status: int, path: str) -> str:
    noun = path.strip("/").split("/")[0]
    match status:
        case 401:
            return "edgeloop up        # writes the key of this machine's server; or set EDGELOOP_API_KEY"
        case 403:
            return "set EDGELOOP_API_KEY to a key that may; an admin makes one: edgeloop key create NAME --role ROLE"
        case 429:
            return "wait for as long as it says"
        case 404:
            return _LISTS.get(noun, "edgeloop doctor")
        case 409 if noun == "rollouts":
            return "edgeloop rollout list"
        case 413:
            return "edgeloop model push --help"
        case 400 | 409 | 422:
            return _LISTS.get(noun, "edgeloop --help")
        case _:
            return "edgeloop doctor"
