"""A device's local API in this process: real bundles, requests built by hand, no socket."""

import json
from typing import Any

from edge_agent.adapters.http_message import Answer, Request
from edge_agent.contract.messages import AgentSettings
from edge_agent.core.control import FeedbackSample, WindowClosed, WindowUnderWay
from edge_agent.worker.engine import open_model
from edge_agent.worker.local_api import LocalApi
from edge_agent.worker.meter import Clock, Counted
from edge_agent.worker.serving import ServedModel
from tests.fakes.bundles import FakeBundle


class Device:
    """A local API over bundles, with a clock that stands still and the windows that closed."""

    def __init__(self, *found: FakeBundle, settings: AgentSettings | None = None, keeps_inputs: bool = False) -> None:
        self.now_s = 0.0
        self.counted: list[Counted] = []
        clock = Clock(lambda: self.now_s, lambda: int(self.now_s * 1000))
        self.models = {
            bundle.manifest.model: ServedModel(
                open_model(bundle.path),
                3,
                settings or AgentSettings(),
                clock,
                self.counted.append,
                keeps_inputs=keeps_inputs,
            )
            for bundle in found
        }
        self.api = LocalApi(self.models)

    @property
    def windows(self) -> list[WindowClosed]:
        """The windows that closed."""
        return [one for one in self.counted if isinstance(one, WindowClosed)]

    @property
    def copies(self) -> list[WindowUnderWay]:
        """Copies of windows under way."""
        return [one for one in self.counted if isinstance(one, WindowUnderWay)]

    @property
    def samples(self) -> list[FeedbackSample]:
        """Labelled rows."""
        return [one for one in self.counted if isinstance(one, FeedbackSample)]

    def call(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        answer = self.answer(method, target, body, **headers)
        return answer.status, json.loads(answer.body)

    def answer(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        path, _, query = target.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api(Request(method, path, query, named, True, body))

    def predict(self, plain: Any, target: str = "/predict") -> tuple[int, Any]:
        return self.call("POST", target, json.dumps(plain).encode())
