"""Whatever fits the published description is answered as it says, and by no defect of the server.

`EDGELOOP_FUZZ` multiplies the number of examples.
"""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fakes.server_app import Served, served

EXAMPLES = 4 * int(os.environ.get("EDGELOOP_FUZZ", "1"))
# What needs no key: the edge, where a browser or a device has none yet.
OPEN = {"/healthz", "/ca.pem", "/signin", "/api/v1/enrol", "/api/v1/renew", "/api/v1/session"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("openapi")) as found:
        found.upload("v1", b"one")
        found.group()
        found.enrol("pi-1")
        yield found


def check_documented(responses: dict[str, Any], answer: httpx.Response, components: dict[str, Any]) -> None:
    """The status, the content type and a problem's body are those of the description."""
    status = str(answer.status_code)
    found = responses.get(status) or responses.get(f"{status[0]}XX")
    assert found is not None, (answer.request.url, status, list(responses))
    if answer.content and (content := found.get("content")):
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in content, (answer.request.url, status, kind)
        if kind.endswith("json") and (schema := content[kind].get("schema")):
            jsonschema_rs.validate({**schema, "components": components}, answer.json())


def test_nobody_gets_in_without_a_key(fleet: Served) -> None:
    plain = fleet.client.request("GET", "/openapi.json").json()
    for path, methods in plain["paths"].items():
        for method in methods.keys() - {"parameters"}:
            target = path.replace("{", "").replace("}", "")
            for headers in ({"Authorization": ""}, {"Authorization": "Bearer ek_wrong"}, {"Authorization": "Basic x"}):
                answer = fleet.client.request(method.upper(), target, headers=headers)
                if path in OPEN:
                    assert answer.status_code < 500, (method, path)
                else:
                    assert answer.status_code == 401, (method, path, answer.text)
                    assert answer.headers["content-type"] == "application/problem+json"


def test_no_request_meets_a_defect(fleet: Served) -> None:
    plain = fleet.client.request("GET", "/openapi.json").json()
    del plain["paths"]["/api/v1/stream"]  # it never ends
    headers = {"Authorization": f"Bearer {fleet.key}"}
    asked = 0
    for found in schemathesis.openapi.from_dict(plain).get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            given_parts: dict[str, Any] = case.as_transport_kwargs(base_url="http://testserver")
            options = {name: given_parts[name] for name in ("params", "json", "files") if given_parts.get(name)}
            if isinstance(body := given_parts.get("data"), bytes | str):
                options["content"] = body
            answer = fleet.client.request(given_parts["method"], given_parts["url"], headers=headers, **options)
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            responses = plain["paths"][case.operation.path][case.method.lower()]["responses"]
            check_documented(responses, answer, plain.get("components", {}))

        ask()
    assert asked > 100
