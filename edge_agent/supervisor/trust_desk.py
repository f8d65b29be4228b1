"""When to verify what the device was shown: one verification at a time, newer packs together, again while in doubt.

House rules: either repository's pack may come first; both newest are kept, and each change verifies both. Time passes
for metadata too, so what is kept is verified again now and then: a server that fell silent is reported as expired. A
verifier that fails is tried again later, and meanwhile nothing changes.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping

from edge_agent.adapters.verifier_process import Verified, Verifier, VerifierFailed, VerifierInput
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.topics import Topics
from edge_agent.contract.trust import DIRECTOR, IMAGE, claimed_version
from edge_agent.core.retry import Backoff
from edge_agent.core.trust_rules import Finding

_RECHECK_S = 3600.0
# The digests of so many packs are known again, of each repository.
_REMEMBERED = 32
# Both packs often come together, on a new connection for one: a moment's patience saves a run.
_SETTLE_S = 0.1
_RETRY = Backoff(1.0, 300.0)
_log = logging.getLogger(__name__)


class TrustDesk:
    """Takes packs in, and hands out what was found."""

    def __init__(self, device: str, topics: Topics, verifier: Verifier, seq: Callable[[], int]) -> None:
        """`seq` gives the journal's highest order."""
        self._repositories: Mapping[str, str] = {topics.trust(IMAGE): IMAGE, topics.desired(device): DIRECTOR}
        self._verifier = verifier
        self._seq = seq
        self._seen = {name: deque[str](maxlen=_REMEMBERED) for name in self._repositories.values()}
        self._new: dict[str, bytes] = {}
        self._handed: dict[str, bytes] = {}
        self._is_running = False
        self._failures = 0
        self._due: float | None = None

    def start(self, now: float) -> None:
        """Verify what is kept: the last run may have been cut off, and clock and expiry have moved."""
        for repository in self._repositories.values():
            if (kept := self._verifier.kept(repository)) is not None:
                self._seen[repository].append(sha256(kept))
                self._due = now

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return tuple(self._repositories)

    def takes(self, topic: str) -> bool:
        """Whether a topic carries a pack."""
        return topic in self._repositories

    def arrived(self, topic: str, payload: bytes, now: float) -> None:
        """A pack came; one that came before, and a topic that was cleared, change nothing.

        Of two that wait, the one that says of itself that it is newer is verified: an older one may be late.
        """
        repository = self._repositories[topic]
        if not payload or (digest := sha256(payload)) in self._seen[repository]:
            return
        self._seen[repository].append(digest)
        waiting = self._new.get(repository)
        if waiting is None or claimed_version(payload) >= claimed_version(waiting):
            self._new[repository] = payload
        if not self._is_running:
            self._due = now + _SETTLE_S

    def done(self, item: VerifierInput, now: float) -> Finding | None:
        """The verifier ended; return what it found."""
        self._is_running = False
        match item:
            case Verified(finding, took_s):
                _log.info(
                    "packs_verified refused=%s took_s=%.2f child_ms=%d child_peak_mb=%.0f",
                    finding.held.refused or "-",
                    took_s,
                    finding.took_ms,
                    finding.peak_mb,
                )
                self._failures, self._handed = 0, {}
                self._due = now if self._new else now + _RECHECK_S
                return finding
            case VerifierFailed(detail):
                self._new = self._handed | self._new
                self._due = now + _RETRY.delay_s(self._failures, 1.0)
                self._failures += 1
                _log.warning("verifier_failed n=%d retry_s=%.0f detail=%r", self._failures, self._due - now, detail)
                return None

    def tick(self, now: float) -> None:
        """Begin what is due."""
        if self._is_running or self._due is None or now < self._due:
            return
        self._is_running, self._due = True, None
        self._handed, self._new = self._new, {}
        self._verifier.start(self._handed, self._seq())

    def next_due(self) -> float | None:
        """Return when `tick` has something to do."""
        return None if self._is_running else self._due

    def stop(self) -> None:
        """End what runs."""
        self._verifier.stop()
