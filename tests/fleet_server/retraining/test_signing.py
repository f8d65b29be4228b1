"""Where the keys to try out with are, automatic versions are signed by their own key, until a person revokes it."""

from tests.fakes.retraining import find, newest, set_pipeline, train, trainer
from tests.fakes.server_app import Board, Served, run_trainer_here


def states(fleet: Served) -> dict[int, str]:
    return {item["version"]: item["state"] for item in fleet.call("GET", "/releases")["items"]}


def revoke(fleet: Served) -> None:
    """Do what an operator does with the keys of the try-out: fetch, revoke, push."""
    keys = fleet.folder / "data" / "keys" / "tryout"
    exchange = fleet.folder / "exchange"
    for path, text in fleet.call("GET", "/releases/exchange")["files"].items():
        (exchange / path).parent.mkdir(parents=True, exist_ok=True)
        (exchange / path).write_text(text)
    run_trainer_here(["delegate", str(exchange), "digits", "--keys", str(keys), "--revoke"])
    signed = exchange / "signed"
    files = {str(path.relative_to(signed)): path.read_text() for path in signed.rglob("*.json")}
    fleet.call("POST", "/releases", 201, json={"files": files})


def test_a_revoked_delegation_is_not_made_again(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True, cool_down_s=0)
    find(fleet)
    train(fleet, trainer(fleet.folder, won=True), "rolling")
    fleet.call("POST", f"/rollouts/{newest(fleet)['rollout']}/abort")
    fleet.turn()
    assert newest(fleet)["state"] == "rolled_back"
    revoke(fleet)
    assert states(fleet) == {1: "signed", 2: "yanked"}
    for board in boards:
        board.succeed()
    find(fleet)
    train(fleet, trainer(fleet.folder, won=True, content=b"three"), "registered")
    fleet.clock.pass_s(61)
    fleet.turn()
    assert newest(fleet)["state"] == "registered"
    assert states(fleet) == {1: "signed", 2: "yanked", 3: "unsigned"}
