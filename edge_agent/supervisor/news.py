"""What the workers did, as the service tells it to updates and telemetry."""

from dataclasses import dataclass

from edge_agent.contract.messages import Proof
from edge_agent.contract.states import Reason
from edge_agent.core.control import Beat, FeedbackSample, WindowClosed, WindowUnderWay


@dataclass(frozen=True, slots=True)
class Proven:
    """The trial worker has loaded and proven its set."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """The trial worker could not load or prove its set, crashed, or hung, before it served."""

    reason: Reason
    detail: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class NowServing:
    """A worker accepts in place of the one before; `trial` where it is the update's."""

    trial: bool


@dataclass(frozen=True, slots=True)
class ServingLost:
    """The serving worker ended unexpectedly; `storm` where it does so again and again."""

    reason: Reason
    detail: str
    storm: bool


@dataclass(frozen=True, slots=True)
class Worn:
    """The serving worker's memory has grown towards its limit; a fresh one is started to take its place."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Guilty:
    """A bundle of the wanted set does not load any more, ends its workers, or answers nothing right.

    The others are served without it.
    """

    digest: str
    detail: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A beat of the serving worker, which is number `worker`."""

    worker: int
    beat: Beat


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker counted: a window that it closed, a copy of one under way, or labelled rows."""

    worker: int
    what: WindowClosed | WindowUnderWay | FeedbackSample


News = Proven | TrialFailed | NowServing | ServingLost | Worn | Guilty | Counted | Told
