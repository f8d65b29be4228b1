"""status.json: what the agent does right now, for `edge-agent status` and for whoever watches the device locally.

House rules: replaced at once and only on change; not flushed to the card, since the next start writes it anew.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from edge_agent.adapters import durable
from edge_agent.contract import codec
from edge_agent.contract.messages import Outcome, Progress, Running
from edge_agent.contract.states import UpdateState

FILE_NAME = "status.json"


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The agent at `ts` (epoch ms). `api_url` has the real port; `desired_seq` is the newest document taken in.

    `feedback` says whether this device's configuration allows labelled rows to be sent.
    """

    device: str
    boot: int
    ts: int
    supervisor_pid: int
    worker_pid: int | None
    api_url: str
    api_socket: str
    broker_connected: bool
    state: UpdateState
    desired_seq: int
    running: tuple[Running, ...]
    spool_n: int
    progress: Progress | None = None
    outcome: Outcome | None = None
    feedback: bool = False


def write_status(state_dir: Path, status: AgentStatus) -> None:
    """Replace status.json; on a full or failing disk the old one stays, which its `ts` tells."""
    with contextlib.suppress(OSError):
        durable.replace_file(state_dir / FILE_NAME, codec.encode(status))


def read_status(state_dir: Path) -> AgentStatus:
    """Read status.json.

    Raises:
        OSError: there is none.
        codec.MalformedError: it is not of this agent's version.
    """
    return codec.decode(AgentStatus, (state_dir / FILE_NAME).read_bytes())
