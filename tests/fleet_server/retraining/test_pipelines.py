"""A pipeline is what it was when it was set; what it could not do is refused when it is set, not when it is needed."""

import json
from typing import Any

import pytest

from fleet_server.core.permissions import Role, Scope
from fleet_server.services.api_keys import KeyRequest
from tests.fakes.retraining import OPTIONS, RECIPE, find, newest, set_pipeline
from tests.fakes.server_app import Board, Served


def put(fleet: Served, expected: int, name: str = "daily.toml", **form: Any) -> Any:
    files = [("recipe", (name, form.pop("recipe", RECIPE))), ("data", ("rows.csv", b"a,kind\n1,0\n"))]
    options = {**OPTIONS, **form}
    return fleet.call("PUT", "/models/digits/pipeline", expected, files=files, data={"options": json.dumps(options)})


def test_it_is_shown_as_it_was_set_and_its_digest_is_over_all_of_it(fleet: Served, boards: list[Board]) -> None:
    first = fleet.call("GET", "/models/digits/pipeline")
    assert (first["recipe"], first["options"]["group"], first["options"]["margin"]) == ("daily.toml", "brave", 0.01)
    assert set_pipeline(fleet)["digest"] == first["digest"]
    digests = {first["digest"], set_pipeline(fleet, margin=0.02)["digest"]}
    digests.add(set_pipeline(fleet, recipe=RECIPE + b"# changed\n")["digest"])
    assert len(digests) == 3
    fleet.call("DELETE", "/models/digits/pipeline", 204)
    fleet.call("GET", "/models/digits/pipeline", 404)
    fleet.call("DELETE", "/models/digits/pipeline", 404)


def test_an_open_proposal_goes_on_with_the_one_that_it_began_with(fleet: Served, boards: list[Board]) -> None:
    before = fleet.call("GET", "/models/digits/pipeline")["digest"]
    find(fleet)
    set_pipeline(fleet, automatic=True)
    fleet.turn()
    held = newest(fleet)
    assert (held["state"], held["pipeline"]) == ("proposed", before)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": "daily.py"}, "code, which a server does not run"),
        ({"recipe": RECIPE.replace(b"sklearn.linear_model.LogisticRegression", b"os.system")}, "below sklearn"),
        ({"recipe": RECIPE.replace(b'"digits"', b'"wine"')}, "of the model 'wine'"),
        ({"colour": 1}, "colour"),
        ({"margin": 7}, "margin"),
        ({"group": "all"}, "takes no automatic versions"),
        ({"policy": {"phases": ["0%"]}}, "phase"),
        ({"policy": {"speed": 1}}, "speed"),
    ],
    ids=str,
)
def test_what_could_not_work_is_refused_by_name(
    fleet: Served, boards: list[Board], form: dict[str, Any], words: str
) -> None:
    fleet.group()
    assert words in put(fleet, 422, **form)["detail"]
    put(fleet, 404, group="nowhere")


def test_a_limited_key_sets_and_accepts_within_its_limits_alone(fleet: Served, boards: list[Board]) -> None:
    make = fleet.server.context.api_keys.make
    scope = Scope(groups=frozenset({"brave"}), models=frozenset({"digits"}))
    inside = {"Authorization": f"Bearer {make(KeyRequest('in', Role.PUBLISHER, scope), 'test')[1]}"}
    other = Scope(groups=frozenset({"shy"}))
    outside = {"Authorization": f"Bearer {make(KeyRequest('out', Role.PUBLISHER, other), 'test')[1]}"}
    find(fleet)
    held = newest(fleet)["id"]
    for headers, expected in ((outside, 403), (inside, 200)):
        for path in (f"/api/v1/proposals/{held}/accept",):
            answer = fleet.client.request("POST", path, headers=headers)
            assert answer.status_code == expected, answer.text
    files = [("recipe", ("daily.toml", RECIPE)), ("data", ("rows.csv", b"a,kind\n1,0\n"))]
    for headers, expected in ((outside, 403), (inside, 200)):
        form = {"options": json.dumps(dict(OPTIONS))}
        path = "/api/v1/models/digits/pipeline"
        assert fleet.client.request("PUT", path, headers=headers, files=files, data=form).status_code == expected
    assert fleet.client.request("DELETE", path, headers=outside).status_code == 403
