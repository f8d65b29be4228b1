"""One model as it is served: predictions are timed, counted and kept for feedback; inputs come as JSON or OIP.

House rules: whatever is wrong with a request is counted as rejected and never reaches the model; whatever is wrong
with the model is counted in errors, by row, and never answered as a number.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.http_message import Answer
from edge_agent.adapters.marks import Marker
from edge_agent.adapters.runtimes import RuntimeFaultError
from edge_agent.contract.manifest import Manifest
from edge_agent.contract.messages import AgentSettings
from edge_agent.core.labels import rule_of
from edge_agent.worker import oip
from edge_agent.worker.answers import Answers, judge_feedback
from edge_agent.worker.engine import BadInputError, Model, NonFiniteOutputError, Prediction
from edge_agent.worker.meter import Clock, Counted, Meter
from edge_agent.worker.rows import RowReader, parse_json

Matrix = NDArray[np.float32]


class ServedModel:
    """A model behind the local API. Safe to use from several threads."""

    def __init__(
        self,
        model: Model,
        version: int,
        settings: AgentSettings,
        clock: Clock,
        on_counted: Callable[[Counted], None],
        *,
        keeps_inputs: bool = False,
    ) -> None:
        self.model = model
        self.version = version
        self.meter = Meter(model, version, settings, clock, on_counted)
        self._answers = Answers()
        self._keeps_inputs = keeps_inputs
        self._reader = RowReader(model.names)
        self._one_target = model.manifest.output.columns == 1
        self._running: dict[int, float] = {}
        self._marker, self._place = Marker(), 0
        labels = [json.dumps(label) for label in model.rule.labels]
        self._label_texts = np.array(labels, object)
        self._named = f'","model":{json.dumps(model.manifest.model)},"version":{version},'

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.model.manifest

    def set_threshold(self, threshold: float | None) -> None:
        """Decide by `threshold` from now on; None is the manifest's own."""
        self.model.rule = rule_of(self.manifest.output, threshold)

    def mark_with(self, marker: Marker, place: int) -> None:
        """Mark from now on in `place` whether predictions are under way, for the case that one ends the process."""
        self._marker, self._place = marker, place

    def oldest_request_s(self) -> float:
        """Return the age of the longest inference under way, 0 if none."""
        starts = list(self._running.values())
        return time.perf_counter() - min(starts) if starts else 0.0

    def predict(self, x: Matrix, threshold: float | None = None) -> Prediction:
        """Check, predict and count rows (rows, features); raises as `Model.predict` does."""
        model, meter = self.model, self.meter
        model.check(x)
        thread = threading.get_ident()
        start = self._running[thread] = time.perf_counter()
        self._marker.set(self._place, len(self._running))
        try:
            prediction = model.answer(x, threshold)
        except NonFiniteOutputError as error:
            meter.fail(x, error.rows, (time.perf_counter() - start) * 1e6)
            raise
        except RuntimeFaultError:
            meter.fail(x, len(x), (time.perf_counter() - start) * 1e6)
            raise
        finally:
            del self._running[thread]
            self._marker.set(self._place, len(self._running))
        meter.record(x, prediction, (time.perf_counter() - start) * 1e6)
        return prediction

    def predict_json(self, body: bytes, parameters: Mapping[str, str]) -> Answer:
        """Answer `POST /predict`."""
        return self._guarded(lambda: self._predict_json(body, parameters))

    def infer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Answer an Open Inference Protocol `infer` request, JSON or with binary tensors."""
        return self._guarded(lambda: self._infer(body, headers))

    def reject(self, message: str, status: int = 400) -> Answer:
        """Count and answer a refused request."""
        self.meter.reject()
        return error_answer(status, message)

    def metadata(self) -> dict[str, Any]:
        """Return the model's metadata in the Open Inference Protocol's form."""
        return oip.model_metadata(self.manifest, self.version)

    def feedback(self, name: str, truth: list[Any]) -> bool:
        """Count the truth for a prediction; False where its id is not known here.

        Raises:
            BadInputError: the truth is not of the prediction's shape or labels.
        """
        answered = self._answers.find(name)
        if answered is None:
            return False
        n, correct, error = judge_feedback(self.model.rule, answered, truth)
        inputs = self._answers.inputs(name)
        if not self._answers.forget(name):
            return False
        self.meter.feedback(n, correct, error)
        if inputs is not None:
            labels = self.model.rule.labels
            self.meter.sample(inputs, truth, [labels[item] for item in answered] if labels else answered)
        return True

    def _guarded(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except BadInputError as error:
            self.meter.reject(error.feature, missing=error.missing)
            return error_answer(400, str(error))
        except (NonFiniteOutputError, RuntimeFaultError) as error:
            return error_answer(500, f"model {self.manifest.model!r} version {self.version}: {error}")

    def _predict_json(self, body: bytes, parameters: Mapping[str, str]) -> Answer:
        threshold = self.parse_threshold(parameters.get("threshold"))
        x = self._reader.read(parse_json(body))
        prediction = self.predict(x, threshold)
        name = self._answers.keep(prediction, inputs=x if self._keeps_inputs else None)
        scores = _numbers_text(prediction.scores)
        if prediction.indices is None:
            answered = f'"values":{_numbers_text(prediction.scores[:, 0]) if self._one_target else scores}'
        else:
            answered = f'"labels":[{",".join(self._label_texts[prediction.indices].tolist())}]'
        return Answer(200, f'{{"id":"{name}{self._named}{answered},"scores":{scores}}}'.encode())

    def _infer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        request = oip.parse_infer(body, headers.get(oip.HEADER), self.manifest)
        threshold = self.parse_threshold(request.threshold)
        x = self.model.as_matrix(request.x)
        prediction = self.predict(x, threshold)
        name = self._answers.keep(prediction, request.id, inputs=x.copy() if self._keeps_inputs else None)
        return oip.build_answer(request, prediction, self.manifest, self.version, name)

    def parse_threshold(self, given: Any) -> float | None:
        """Return a request's own decision threshold, None where it has none.

        Raises:
            BadInputError: no finite number, or the model decides without a threshold.
        """
        if given is None:
            return None
        if not self.model.rule.takes_threshold:
            raise BadInputError("this model's labels do not follow from a threshold")
        try:
            threshold = math.nan if isinstance(given, bool) else float(given)
        except (TypeError, ValueError):
            threshold = math.nan
        if not math.isfinite(threshold):
            raise BadInputError(f"threshold is {str(given)[:20]!r}; expected a finite number")
        return threshold


def error_answer(status: int, message: str) -> Answer:
    """Return the JSON answer of an error."""
    return Answer(status, json.dumps({"error": message}, ensure_ascii=False).encode())


def _numbers_text(numbers: Matrix) -> str:
    """Return finite float32 numbers as JSON; nine digits hold all of one, in a third of the time of repr's 17."""
    row = "[" + ",".join(["%.9g"] * numbers.shape[-1]) + "]"
    text = row if numbers.ndim == 1 else "[" + ",".join([row] * len(numbers)) + "]"
    return text % tuple(numbers.ravel().tolist())
