"""The verifier as a child: its answer, its crash, its silence and its nonsense; nothing is ever half done."""

import queue
import sys
from pathlib import Path

import pytest

from edge_agent.adapters.verifier_process import COMMAND, Verified, Verifier, VerifierFailed, VerifierInput
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR, IMAGE
from tests.fakes.trust_repository import FAR, FakeRepository
from tests.fakes.trust_world import BOARD, DEVICE, World

WHO = ("--device", DEVICE, "--profile", BOARD)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, image=FakeRepository(FAR), director=FakeRepository(FAR))
    made.enrol()
    made.give(1)
    return made


def ask(world: World, command: tuple[str, ...] = COMMAND, deadline_s: float = 60.0) -> VerifierInput:
    answers: queue.SimpleQueue[VerifierInput] = queue.SimpleQueue()
    verifier = Verifier(world.folder, WHO, answers.put, command, deadline_s)
    verifier.start({IMAGE: world.image.pack(), DIRECTOR: world.director.pack()}, 0)
    return answers.get(timeout=90)


def test_it_keeps_the_packs_and_answers_with_the_order(world: World) -> None:
    found = ask(world)
    assert isinstance(found, Verified)
    assert found.finding.desired is not None
    assert found.finding.desired.seq == found.finding.held.director_targets == 2
    assert 0 < found.finding.peak_mb < 256
    assert world.state.pack(IMAGE) == world.image.pack()


def test_a_refusal_is_an_answer(world: World) -> None:
    world.order(2)
    found = ask(world)
    assert isinstance(found, Verified)
    assert found.finding.held.refused is Reason.NOT_RELEASED


@pytest.mark.parametrize(
    "script",
    [
        "raise SystemExit(3)",
        "import os; os.kill(os.getpid(), 9)",
        "print('nonsense')",
        "print('{}'); raise SystemExit(1)",
    ],
)
def test_anything_else_is_a_failure(world: World, script: str) -> None:
    found = ask(world, (sys.executable, "-c", script))
    assert isinstance(found, VerifierFailed)
    assert "without an answer" in found.detail


def test_silence_ends_at_the_deadline_and_a_flood_at_its_length(world: World) -> None:
    found = ask(world, (sys.executable, "-c", "import signal; signal.pause()"), 0.5)
    assert isinstance(found, VerifierFailed)
    assert "-9" in found.detail
    flood = "import os\nwhile True: os.write(1, b'x' * 65536)"
    assert isinstance(ask(world, (sys.executable, "-c", flood)), VerifierFailed)


def test_a_child_that_eats_memory_ends(world: World) -> None:
    found = ask(world, (sys.executable, "-c", "held = bytearray(1 << 30)"))
    assert isinstance(found, VerifierFailed)


def test_a_full_or_missing_folder_is_a_failure(world: World) -> None:
    (world.folder / "trust" / "packs").write_text("in the way")
    found = ask(world)
    assert isinstance(found, VerifierFailed)
    assert "cannot be kept" in found.detail


def test_a_child_that_cannot_write_its_floors_says_nothing(world: World) -> None:
    """A crash is no answer: nobody acts on an order whose floors are not on disk."""
    (world.folder / "trust.db").mkdir()
    assert isinstance(ask(world), VerifierFailed)
