"""The device's local API against its own description: documented answers alone, whatever comes; and it stays fair.

`EDGELOOP_FUZZ` multiplies the number of examples.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_agent.adapters.http_message import Answer
from tests.fakes import bundles
from tests.fakes.local_device import Device

DESCRIPTION: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "schemas" / "local-api.json").read_text()
)
EXAMPLES = 6 * int(os.environ.get("EDGELOOP_FUZZ", "1"))
FUZZ = settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
    deadline=None,
)
OPERATIONS = [(path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("\ud800"), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return Device(bundles.logistic(tmp_path_factory.mktemp("demo"), features=3, classes=3, nan_allowed=("x3",)))


def check_documented(path: str, method: str, answer: Answer, *, served: bool = True) -> None:
    """The status, the content type and the body are those of the description."""
    documented = DESCRIPTION["paths"][path][method]["responses"]
    assert str(answer.status) in documented, (path, answer.status, answer.body[:300])
    assert answer.status < 500 or (answer.status == 503 and not served), answer.body[:300]
    content = documented[str(answer.status)]["content"]
    kind = answer.content_type.partition(";")[0]
    assert kind in content, (path, kind)
    if kind == "application/json" and (schema := content[kind].get("schema")):
        jsonschema_rs.validate({**schema, "components": DESCRIPTION["components"]}, json.loads(answer.body))


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: str(part))
def test_what_fits_the_description_gets_a_documented_answer(device: Device, path: str, method: str) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path][method.upper()]

    @FUZZ
    @given(case=operation.as_strategy(), known=st.booleans())
    def ask(case: schemathesis.Case, *, known: bool) -> None:
        given_parts = case.path_parameters or {}
        names = {"model": "demo", "version": "3"} if known else {}
        target = path.format(**{key: quote(str(names.get(key, value)), safe="") for key, value in given_parts.items()})
        query = "&".join(f"{key}={quote(str(value))}" for key, value in (case.query or {}).items())
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str).encode()
        headers = {str(key).lower().replace("-", "_"): str(value) for key, value in (case.headers or {}).items()}
        answer = device.answer(method.upper(), f"{target}?{query}", body, **headers)
        check_documented(path, method, answer)

    ask()


@pytest.mark.parametrize("path", ["/predict", "/feedback", "/v2/models/{model}/infer"])
def test_any_body_gets_a_documented_answer(device: Device, path: str) -> None:
    infer = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    place = st.sampled_from(["name", "shape", "datatype", "data", "parameters"])
    odd = st.tuples(place, ANY_JSON).map(lambda got: {"inputs": [infer["inputs"][0] | {got[0]: got[1]}]})

    @FUZZ
    @given(
        body=st.one_of(ANY_JSON.map(json.dumps), odd.map(json.dumps), st.text(max_size=100)),
        length=st.none() | st.integers(-1, 300) | st.text(max_size=5),
    )
    def ask(body: str, length: object) -> None:
        headers = {} if length is None else {"inference_header_content_length": str(length)}
        data = body.encode("utf-8", "surrogatepass")
        check_documented(path, "post", device.answer("POST", path.format(model="demo"), data, **headers))

    ask()


def test_a_device_without_a_model_says_so() -> None:
    empty = Device()
    for path, method in OPERATIONS:
        answer = empty.answer(method.upper(), path.format(model="demo", version="3"), b"{}")
        check_documented(path, method, answer, served=False)


def test_every_route_is_described(device: Device) -> None:
    assert {path for path in device.api._exact if path not in DESCRIPTION["paths"]} == set()
