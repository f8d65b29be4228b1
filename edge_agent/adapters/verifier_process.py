"""The verifier as a child process: new packs are kept on disk, a bounded process judges them, its answer is an input.

House rules: one thread for each run, so that the main loop waits neither for a flush nor for the child. What the child
says is bounded in time and length. A child that crashes, hangs or talks nonsense is a failure that changes nothing.
"""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.adapters.trust_state import TrustState
from edge_agent.contract import codec
from edge_agent.core.trust_rules import Finding

COMMAND = (sys.executable, "-m", "edge_agent.verifier")
_MAX_ANSWER_BYTES = 1024 * 1024
_MIB = 1024 * 1024
# The slowest board takes some 10 s for the imports alone.
_DEADLINE_S = 120.0
_LIMITS = (
    (resource.RLIMIT_DATA, 256 * _MIB),
    (resource.RLIMIT_FSIZE, 32 * _MIB),
    (resource.RLIMIT_CPU, 60),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
)


@dataclass(frozen=True, slots=True)
class Verified:
    """The verifier answered, after so many seconds in all."""

    finding: Finding
    took_s: float


@dataclass(frozen=True, slots=True)
class VerifierFailed:
    """The verifier did not answer; nothing is known of the packs."""

    detail: str


VerifierInput = Verified | VerifierFailed


class Verifier:
    """Starts one verification at a time; the answer arrives at `put`, from the run's thread."""

    def __init__(
        self,
        state_dir: Path,
        who: tuple[str, ...],
        put: Callable[[VerifierInput], None],
        command: tuple[str, ...] = COMMAND,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        """`who` are the arguments that name device and board."""
        self._state = TrustState(state_dir)
        self._command = (*command, "--state-dir", str(state_dir), *who)
        self._put = put
        self._deadline_s = deadline_s
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, packs: Mapping[str, bytes], seq_floor: int) -> None:
        """Keep new packs by repository, and verify all that is kept."""
        run = threading.Thread(target=self._run, args=(dict(packs), seq_floor), name="verifier", daemon=True)
        run.start()

    def kept(self, repository: str) -> bytes | None:
        """Return the pack that is kept, if any."""
        return self._state.pack(repository)

    def stop(self) -> None:
        """End the child of the moment, if any."""
        if (child := self._child) is not None:
            child.kill()

    def _run(self, packs: dict[str, bytes], seq_floor: int) -> None:
        began = time.monotonic()
        try:
            for repository, data in packs.items():
                self._state.keep_pack(repository, data)
            line, status = self._ask(seq_floor)
            finding = codec.decode(Finding, line)
        except OSError as error:
            self._put(VerifierFailed(f"packs cannot be kept or verified: {error.strerror}"))
        except codec.MalformedError:
            self._put(VerifierFailed(f"the verifier ended with status {status}, without an answer"))
        else:
            self._put(Verified(finding, time.monotonic() - began))

    def _ask(self, seq_floor: int) -> tuple[bytes, int]:
        command = [*self._command, "--seq-floor", str(seq_floor)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            self._child = child
            _limit(child.pid)
            timer = threading.Timer(self._deadline_s, child.kill)
            timer.start()
            try:
                line = child.stdout.read(_MAX_ANSWER_BYTES) if child.stdout is not None else b""
                child.stdout.close() if child.stdout is not None else None
                status = child.wait()
            finally:
                timer.cancel()
                self._child = None
        return (line if status == 0 else b""), status


def _limit(pid: int) -> None:
    """Bound what the child may use, and let the kernel take it before the supervisor."""
    with suppress(OSError):  # it may have ended already
        for kind, most in _LIMITS:
            resource.prlimit(pid, kind, (most, most))
        Path(f"/proc/{pid}/oom_score_adj").write_text("500")
