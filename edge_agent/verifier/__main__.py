"""`python -m edge_agent.verifier`: verifies the kept packs and answers with one line of JSON, a `Finding`.

House rules: a refusal is an answer and ends with status 0; anything else is a crash, after which nothing has changed.
One at a time for a state folder, whoever started it: a supervisor that was killed may have left one behind.
"""

import argparse
import datetime as dt
import fcntl
import sys
import time
from dataclasses import replace
from pathlib import Path

from edge_agent.adapters.trust_check import Device, verify_packs
from edge_agent.adapters.trust_state import TrustState
from edge_agent.contract import codec


def main(arguments: list[str] | None = None) -> int:
    """Verify once; 0 with an answer on standard output."""
    options = _parse(arguments)
    device = Device(options.device, options.profile, options.seq_floor)
    with (options.state_dir / "trust.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        found = verify_packs(TrustState(options.state_dir), device, dt.datetime.now(dt.UTC))
        took_ms = int((time.monotonic() - began) * 1000)
    sys.stdout.buffer.write(codec.encode(replace(found, took_ms=took_ms, peak_mb=_peak_mb())) + b"\n")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edge_agent.verifier")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--seq-floor", type=int, default=0, help="the highest order in the journal")
    return parser.parse_args(arguments)


def _peak_mb() -> float:
    """Return the peak of this process's resident memory; `getrusage` would count its parent's before the exec."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    sys.exit(main())
