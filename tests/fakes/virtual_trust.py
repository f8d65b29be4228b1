"""A verifier on virtual time, which reads the director's order alone, without a child and without TUF.

What the real verifier makes of packs is the trust table's matter (`tests/attacks`); here the loop, the desk that
decides when to verify, and what follows a finding are real. What was handed in outlives a cut, as files do.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from edge_agent.adapters.verifier_process import Verified, Verifier, VerifierInput
from edge_agent.contract import codec
from edge_agent.contract.messages import Desired, TrustHeld
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR
from edge_agent.core.trust_rules import Finding


def sign_order(desired: Desired, key: SigningKey) -> bytes:
    """An order in one signed envelope: what may stand for a director's pack where a test has no server."""
    return bytes(key.sign(codec.encode(desired)))


def read_signed(pack: bytes, key: VerifyKey) -> Desired:
    """Return the order of `sign_order`; `ValueError` where it is none."""
    try:
        return codec.decode(Desired, key.verify(pack))
    except BadSignatureError as error:
        raise ValueError(str(error)) from error


class VirtualVerifier(Verifier):
    """Keeps packs in `files`, which the caller carries over restarts; answers through `later`.

    `read` returns the order of a director's pack, or raises `ValueError`.
    """

    def __init__(
        self,
        device: str,
        read: Callable[[bytes], Desired],
        files: dict[str, bytes],
        put: Callable[[VerifierInput], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        super().__init__(Path("/nonexistent"), (), put)
        self._device = device
        self._read = read
        self._files = files
        self._later = later

    def kept(self, repository: str) -> bytes | None:
        return self._files.get(repository)

    def start(self, packs: Mapping[str, bytes], seq_floor: int) -> None:
        self._files.update(packs)
        self._later(lambda: self._put(Verified(self._find(seq_floor), 0.0)))

    def stop(self) -> None:
        """Nothing runs."""

    def _find(self, seq_floor: int) -> Finding:
        held = TrustHeld(director_targets=seq_floor)
        if (pack := self._files.get(DIRECTOR)) is None:
            return Finding(held)
        try:
            desired = self._read(pack)
        except ValueError as error:
            return Finding(replace(held, refused=Reason.BAD_SIGNATURE, detail=str(error)))
        if desired.device != self._device:
            return Finding(replace(held, refused=Reason.WRONG_DEVICE, detail=desired.device))
        if desired.seq < seq_floor:
            return Finding(replace(held, refused=Reason.ROLLED_BACK, detail=f"{desired.seq} after {seq_floor}"))
        return Finding(replace(held, director_targets=desired.seq), desired)
