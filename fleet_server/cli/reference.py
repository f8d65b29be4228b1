"""The reference of the command, made from its own help.

`python -m fleet_server.cli.reference > docs/reference/cli.md`; a test says when that is due.
"""

import re
import sys

from fleet_server.cli.app import build_app

HEAD = """\
<!-- Made from the command's own help: python -m fleet_server.cli.reference > docs/reference/cli.md -->

"""
TAIL = """
## Exit codes

| Code | Meaning |
|---|---|
| 0 | done |
| 1 | failed; a rollout that was followed did not succeed |
| 2 | wrong usage |
| 3 | unhealthy (`doctor`) |
| 4 | inconclusive: a rollout that is paused, or did not end in time |
| 78 | configuration: no server known, a wrong key |

## Which server

| Variable | Meaning |
|---|---|
| `EDGELOOP_URL` | the server's address, before the one in the context |
| `EDGELOOP_API_KEY` | the API key, before the one in the context |
| `EDGELOOP_CA` | a file with the certificate that the server's TLS chains to |
| `EDGELOOP_CONTEXT` | the context that `edgeloop up` writes; `~/.config/edgeloop/context.json` by default |
| `EDGELOOP_DATA` | the server's data folder; `~/.local/share/edgeloop` by default |
"""


def render() -> str:
    """Return the reference as Markdown."""
    pages = build_app().generate_docs("markdown", recursive=True, heading_level=1, usage_name="edgeloop")
    # Under `python -m` the usage lines of nested commands repeat how the process was started.
    lines = [re.sub(r"^(edgeloop .*?) -m [\w.]+", r"\1", line.rstrip()) for line in pages.splitlines()]
    return HEAD + "\n".join(lines).strip() + "\n" + TAIL


if __name__ == "__main__":
    sys.stdout.write(render())
