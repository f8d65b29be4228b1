"""What the server takes from whoever holds the release keys: the image repository's targets, and roots of both.

House rules: bytes in, a verdict out; nothing is taken in part. What a device's TUF client will check is checked here
first, and on top of it what this fleet means (`root_rules`, `target_rules`).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import unquote

from edge_agent.contract.trust import AUTO, DIRECTOR, IMAGE
from fleet_server.core.releases import Accepted, Held, PushRefusedError
from fleet_server.core.root_rules import judge_roots
from fleet_server.core.target_rules import judge_targets

_PATH = re.compile(rf"({IMAGE}|{DIRECTOR})/([1-9][0-9]{{0,9}})\.(root|targets|{AUTO}%2F[a-z0-9_.-]+)\.json")


def judge_push(held: Held, pushed: Mapping[str, bytes], now: datetime) -> Accepted:
    """Check what was pushed, by path (`image/2.targets.json`), against what is held.

    Raises:
        PushRefusedError: something of it is not as it must be; the message says what.
    """
    if not pushed:
        raise PushRefusedError("there is nothing in it: sign something first (trainer sign, trainer keys …)")
    roots: dict[tuple[str, int], bytes] = {}
    roles: dict[str, tuple[int, bytes]] = {}
    for path, data in pushed.items():
        repository, version, role = _parse_path(path)
        if role == "root":
            roots[repository, version] = data
        elif repository != IMAGE:
            raise PushRefusedError(f"{path}: the director's own roles are signed by the server alone")
        elif role in roles:
            raise PushRefusedError(f"{path}: {role} came twice")
        else:
            roles[role] = version, data
    newest = judge_roots(held, roots, now)
    kept, listed = judge_targets(held, newest[IMAGE], roles, now)
    return Accepted(roots, kept, listed)


def _parse_path(path: str) -> tuple[str, int, str]:
    match = _PATH.fullmatch(path)
    if match is None:
        raise PushRefusedError(f"{path[:200]!r} is no metadata that is pushed")
    return match[1], int(match[2]), unquote(match[3])
