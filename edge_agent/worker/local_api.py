"""The local API's routes: requests to models and back. See docs/reference/local-api.md.

House rules: light without a model (no numpy here); every error is a JSON object with one key, `error`, that says what
was wrong and what was expected; a request that names a model is counted there even when it is refused.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from edge_agent.adapters.http_message import Answer, HttpError, Request
from edge_agent.worker.metrics import CONTENT_TYPE, metrics_text

if TYPE_CHECKING:
    from edge_agent.worker.serving import ServedModel

Models = Mapping[str, "ServedModel"]
_POST, _GET = ("POST",), ("GET", "HEAD")


class LocalApi:
    """The handler behind the worker's sockets."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._refused_elsewhere = 0
        self._exact: dict[str, tuple[tuple[str, ...], Callable[[Request], Answer]]] = {
            "/predict": (_POST, self._predict),
            "/feedback": (_POST, self._feedback),
            "/healthz": (_GET, self._healthz),
            "/metrics": (_GET, self._metrics),
            "/v2": (_GET, self._server_metadata),
            "/v2/health/live": (_GET, lambda _request: _json(200, {"live": True})),
            "/v2/health/ready": (_GET, lambda _request: _json(200, {"ready": True})),
        }

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        exact = self._exact.get(request.path) or self._exact.get(request.path.rstrip("/"))
        if exact is not None:
            methods, handle = exact
            return handle(request) if request.method in methods else _not_allowed(request, methods)
        parts = request.path.strip("/").split("/")
        if parts[0] == "predict" and len(parts) == 2:
            if request.method != "POST":
                return _not_allowed(request, _POST)
            return self._with_model(parts[1], lambda model: self._predict_with(model, request))
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            return self._open_inference(request, parts[2], parts[3:])
        return _error(
            404, f"{request.path[:100]!r} is not known here; see /predict, /feedback, /v2, /healthz, /metrics"
        )

    def note_refused(self, error: Exception) -> None:
        """Count a request that the HTTP layer refused (too large, malformed, too slow) with the model it was for."""
        path = error.path if isinstance(error, HttpError) and error.path else ""
        model = self._model_of(path)
        if model is None:
            self._refused_elsewhere += 1
        else:
            model.reject("")

    def _model_of(self, path: str) -> "ServedModel | None":
        parts = path.strip("/").split("/")
        if parts == ["predict"] and len(self._models) == 1:
            return next(iter(self._models.values()))
        if len(parts) == 2 and parts[0] == "predict":
            return self._models.get(parts[1])
        if len(parts) > 2 and parts[:2] == ["v2", "models"]:
            return self._models.get(parts[2])
        return None

    def _predict(self, request: Request) -> Answer:
        if len(self._models) != 1:
            if not self._models:
                return _no_model()
            return _error(400, f"several models are served; name one: {self._paths()}")
        return self._predict_with(next(iter(self._models.values())), request)

    def _predict_with(self, model: "ServedModel", request: Request) -> Answer:
        refusal = _refuse_coding(model, request)
        return refusal or model.predict_json(request.body, request.parameters() if request.query else {})

    def _with_model(self, name: str, work: Callable[["ServedModel"], Answer]) -> Answer:
        model = self._models.get(name)
        if model is None:
            if not self._models:
                return _no_model()
            return _error(404, f"the model {name[:64]!r} is not served here; served are {', '.join(self._models)}")
        return work(model)

    def _paths(self) -> str:
        return ", ".join(f"/predict/{name}" for name in self._models)

    def _feedback(self, request: Request) -> Answer:
        try:
            plain = json.loads(request.body)
        except (ValueError, RecursionError) as error:
            return _error(400, f"the body is not JSON: {error}")
        if not isinstance(plain, dict) or not isinstance(plain.get("id"), str):
            return _error(400, "expected an object with 'id' and one of 'label', 'labels', 'value', 'values'")
        keys = [key for key in ("label", "labels", "value", "values") if key in plain]
        if len(keys) != 1:
            return _error(400, "expected exactly one of 'label', 'labels', 'value', 'values'")
        truth = plain[keys[0]]
        if keys[0].endswith("s") and not isinstance(truth, list):
            return _error(400, f"{keys[0]!r}: expected a list with one item a row")
        items: list[Any] = truth if keys[0].endswith("s") else [truth]
        try:
            if any(model.feedback(plain["id"], items) for model in self._models.values()):
                return _json(200, {"id": plain["id"], "accepted": len(items)})
        except ValueError as error:
            return _error(400, str(error))
        return _error(
            404, "this prediction is not known: too old, of another worker, or its feedback was given already"
        )

    def _healthz(self, _request: Request) -> Answer:
        models = [
            {"model": name, "version": model.version, "variant": model.manifest.variant, "digest": model.model.digest}
            for name, model in self._models.items()
        ]
        return _json(200, {"status": "ok", "models": models})

    def _metrics(self, _request: Request) -> Answer:
        text = metrics_text(list(self._models.values()), self._refused_elsewhere)
        return Answer(200, text.encode(), CONTENT_TYPE)

    def _server_metadata(self, _request: Request) -> Answer:
        import importlib.metadata  # 3 MB, for a call that hardly any client makes

        plain = {
            "name": "edgeloop",
            "version": importlib.metadata.version("edgeloop"),
            "extensions": ["binary_tensor_data"],
        }
        return _json(200, plain)

    def _open_inference(self, request: Request, name: str, rest: list[str]) -> Answer:
        def work(model: "ServedModel") -> Answer:
            what = rest
            if len(what) >= 2 and what[0] == "versions":
                if unquote(what[1]) != str(model.version):
                    return _error(404, f"version {what[1][:20]!r} of {name!r} is not served; {model.version} is")
                what = what[2:]
            methods = _POST if what == ["infer"] else _GET
            if what not in ([], ["ready"], ["infer"]):
                return _error(404, f"{request.path[:100]!r} is not known here")
            if request.method not in methods:
                return _not_allowed(request, methods)
            if what == ["infer"]:
                return _refuse_coding(model, request) or model.infer(request.body, request.headers)
            if what == ["ready"]:
                return _json(200, {"name": name, "ready": True})
            return _json(200, model.metadata())

        return self._with_model(name, work)


def _refuse_coding(model: "ServedModel", request: Request) -> Answer | None:
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return None
    return model.reject(f"Content-Encoding {coding[:20]!r} is not offered; send the body as it is", 415)


def _no_model() -> Answer:
    return Answer(503, b'{"error":"no model is installed on this device yet"}', headers=(("retry-after", "5"),))


def _not_allowed(request: Request, methods: tuple[str, ...]) -> Answer:
    message = f"{request.method} is not allowed on {request.path[:100]}; expected {' or '.join(methods)}"
    return Answer(405, json.dumps({"error": message}).encode(), headers=(("allow", ", ".join(methods)),))


def _error(status: int, message: str) -> Answer:
    return _json(status, {"error": message})


def _json(status: int, plain: Any) -> Answer:
    return Answer(status, json.dumps(plain, separators=(",", ":")).encode())
