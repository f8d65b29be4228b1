"""When a proposal opens, what each state owes, and that no way leads to a rollout but the one through the gate."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fleet_server.core.pipelines import PipelineOptions, judge_recipe, parse_options
from fleet_server.core.proposal_machine import ENDED, MOVES, ProposalMove, ProposalMoveError, ProposalState, next_state
from fleet_server.core.proposals import Ended, Facts, History, Proposal, decide_opening, decide_step

OPTIONS = PipelineOptions("brave", min_fresh_rows=100, cool_down_s=60, deadline_s=3600)
HELD = Proposal("pr-1", "digits", 3, ProposalState.PROPOSED, "why", "inputs", "why", {}, "a" * 64, "monitor", 0, 0)
RUNS = History(running=3)


@pytest.mark.parametrize(
    ("options", "history", "version", "words"),
    [
        (OPTIONS, RUNS, 3, None),
        (None, RUNS, 3, "no pipeline"),
        (OPTIONS, replace(RUNS, open_id="pr-0"), 3, "pr-0 is open"),
        (OPTIONS, History(), 3, "no device of the group 'brave'"),
        (OPTIONS, RUNS, 2, "about version 2, and the group runs version 3"),
        (OPTIONS, replace(RUNS, last_ended=40_001), 3, "ended less than 60 s ago"),
        (OPTIONS, replace(RUNS, last_ended=40_000), 3, None),
        (OPTIONS, replace(RUNS, last_ended=99_999), None, None),
        (OPTIONS, replace(RUNS, open_id="pr-0"), None, "pr-0 is open"),
    ],
)
def test_what_opens_a_proposal(
    options: PipelineOptions | None, history: History, version: int | None, words: str | None
) -> None:
    found = decide_opening(options, history, version, 100_000)
    assert found.opens == (words is None)
    assert words is None or words in found.reason


S, M = ProposalState, ProposalMove


@pytest.mark.parametrize(
    ("state", "facts", "now", "move", "words"),
    [
        (S.PROPOSED, Facts(), 0, None, "waits for a person"),
        (S.ACCEPTED, Facts(fresh_rows=99), 0, None, "99 of 100"),
        (S.ACCEPTED, Facts(fresh_rows=100), 0, M.TRAIN, "100 labelled rows"),
        (S.ACCEPTED, Facts(fresh_rows=99), 3_600_001, M.FAIL, "before the deadline"),
        (S.TRAINING, Facts(), 9e9, None, "at work"),
        (S.TRAINING, Facts(ended=Ended.CUT_OFF), 0, M.RETRY, "stopped"),
        (S.TRAINING, Facts(ended=Ended.BADLY, told="no column"), 0, M.FAIL, "no column"),
        (S.TRAINING, Facts(ended=Ended.WELL), 0, M.FAIL, "without a verdict"),
        (S.REGISTERED, Facts(told="waits for the signer"), 0, None, "waits for the signer"),
        (S.REGISTERED, Facts(ended=Ended.WELL), 0, M.SIGN, "delegation"),
        (S.REGISTERED, Facts(ended=Ended.BADLY, told="yanked"), 0, M.FAIL, "yanked"),
        (S.REGISTERED, Facts(), 3_600_001, M.FAIL, "nobody signed"),
        (S.SIGNED, Facts(), 9e9, M.ROLL, "'brave'"),
        (S.SIGNED, Facts(obstacle="one is open"), 0, None, "one is open"),
        (S.SIGNED, Facts(obstacle="one is open"), 3_600_001, M.FAIL, "before the deadline: one is open"),
        (S.ROLLING, Facts(told="running"), 9e9, None, "running"),
        (S.ROLLING, Facts(ended=Ended.WELL, told="succeeded"), 0, M.SUCCEED, "succeeded"),
        (S.ROLLING, Facts(ended=Ended.BADLY, told="halted"), 0, M.ROLL_BACK, "halted"),
        (S.LOST, Facts(ended=Ended.WELL), 0, None, "why"),
    ],
)
def test_what_each_state_owes(
    state: ProposalState, facts: Facts, now: int, move: ProposalMove | None, words: str
) -> None:
    step = decide_step(replace(HELD, state=state, accepted=0), OPTIONS, facts, int(now))
    assert step.move is move
    assert words in step.reason
    if move is not None:
        next_state(state, move)  # the table knows it


def test_an_automatic_pipeline_accepts_and_gives_up_after_three_stops() -> None:
    automatic = replace(OPTIONS, automatic=True)
    assert decide_step(HELD, automatic, Facts(), 0).move is M.ACCEPT
    tried = replace(HELD, state=S.ACCEPTED, accepted=0, attempts=3)
    assert decide_step(tried, automatic, Facts(fresh_rows=1000), 0).move is M.FAIL


def ways(state: ProposalState, went: tuple[ProposalMove, ...] = ()) -> Iterator[tuple[ProposalMove, ...]]:
    """Every way from a state on that tries a training twice at most."""
    yield went
    for (start, move), end in MOVES.items():
        if start is state and went.count(M.RETRY) + (move is M.RETRY) <= 1:
            yield from ways(end, (*went, move))


def test_no_way_to_a_rollout_but_through_a_won_gate_and_a_signature() -> None:
    every = list(ways(S.PROPOSED))
    assert len(every) > 20
    for went in every:
        if M.ROLL in went:
            before = [move for move in went[: went.index(M.ROLL)] if move is not M.RETRY]
            assert before[-3:] == [M.TRAIN, M.WIN, M.SIGN]
            assert before[0] is M.ACCEPT


def test_an_end_is_an_end_and_a_wrong_move_names_the_right_ones() -> None:
    assert {S.DONE, S.DECLINED, S.LOST, S.FAILED, S.ROLLED_BACK} == ENDED
    for state in ENDED:
        for move in ProposalMove:
            with pytest.raises(ProposalMoveError, match="nothing more"):
                next_state(state, move)
    with pytest.raises(ProposalMoveError, match="allowed: accept, decline"):
        next_state(S.PROPOSED, M.ROLL)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"group": "brave", "colour": 1}, "colour"),
        ({}, "group"),
        ({"group": "Brave!"}, "a name is"),
        ({"group": "brave", "margin": 2}, "margin"),
        ({"group": "brave", "newest": 0}, "newest"),
        ({"group": "brave", "min_fresh_rows": 59}, "min_fresh_rows"),
        ({"group": "brave", "min_fresh_rows": 200, "max_fresh_rows": 100}, "max_fresh_rows"),
        ({"group": "brave", "deadline_s": 0}, "deadline_s"),
        ({"group": "brave", "cool_down_s": -1}, "cool_down_s"),
        ({"group": "brave", "automatic": "yes"}, "automatic"),
    ],
)
def test_senseless_options_are_refused_by_name(document: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_options(document)


RECIPE = 'model = "digits"\n[data]\n{data}\n[[steps]]\nestimator = "{step}"\n'


@pytest.mark.parametrize(
    ("data", "step", "has_data", "words"),
    [
        ('csv = "rows.csv"', "sklearn.svm.SVC", True, None),
        ('sklearn = "digits"', "sklearn.svm.SVC", False, None),
        ('csv = "rows.csv"', "sklearn.svm.SVC", False, "comes with its rows"),
        ('sklearn = "digits"', "sklearn.svm.SVC", True, "comes with its rows"),
        ('callable = "os:system"', "sklearn.svm.SVC", False, "code"),
        ('csv = "rows.csv"', "os.system", True, "below sklearn"),
    ],
)
def test_a_recipe_names_no_code(data: str, step: str, has_data: bool, words: str | None) -> None:
    found = judge_recipe(RECIPE.format(data=data, step=step).encode(), "digits", has_data=has_data)
    assert (found is None) == (words is None)
    assert words is None or words in str(found)
    assert judge_recipe(b"\xff", "digits", has_data=False) is not None
    assert "of the model 'digits'" in str(judge_recipe(b'model = "digits"', "wine", has_data=False))
