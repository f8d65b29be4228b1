"""Whatever fits the published description is answered without a defect of the server."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fakes.server_app import Served, served

EXAMPLES = 4


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("openapi")) as found:
        found.upload("v1", b"one")
        found.group()
        found.enrol("pi-1")
        yield found


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

        ask()
    assert asked > 100
