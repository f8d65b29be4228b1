"""Users: what a password opens and what ends it; what a stranger learns; how often somebody may try."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import extract_parameters
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from fleet_server.core.permissions import Role
from fleet_server.services.audit import DATABASE_NAME
from fleet_server.services.errors import DeniedError, InvalidError
from fleet_server.services.throttles import RATES, Kind, Rate, Throttle, ThrottledError, name_address
from fleet_server.services.users import Users
from fleet_server.store.audit import AuditFilter
from fleet_server.store.errors import ConflictError, NotFoundError
from fleet_server.store.pages import PageRequest
from tests.fakes.server_app import Served, served

GOOD, OTHER = "correct horse battery", "another long password"


class PlainHasher:
    """Hashes at once, for tests of everything but the hashing; it counts what it did."""

    def __init__(self) -> None:
        self.hashed = 0
        self.verified: list[str] = []
        self.old = False

    def hash(self, password: str) -> str:
        self.hashed += 1
        return f"plain${password[::-1]}"

    def verify(self, stored: str, password: str, /) -> bool:
        self.verified.append(stored)
        if stored != f"plain${password[::-1]}":
            raise VerifyMismatchError
        return True

    def check_needs_rehash(self, stored: str, /) -> bool:
        return self.old


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


@pytest.fixture
def hasher() -> PlainHasher:
    return PlainHasher()


@pytest.fixture
def people(fleet: Served, hasher: PlainHasher) -> Users:
    """The service with the quick hasher, and one user."""
    made = Users(fleet.server._database, Throttle(), fleet.clock, hasher)
    made.add("anna", GOOD, Role.OPERATOR, "test")
    return made


def audit(fleet: Served, action: str) -> list[tuple[str, str]]:
    rows = fleet.server.context.audit.list_audit(PageRequest(), AuditFilter(action=action)).items
    return [(row.actor, row.subject) for row in rows]


def test_passwords_are_kept_as_rfc_9106_says(fleet: Served) -> None:
    """The real hasher, from the door to the file."""
    users = fleet.server.context.users
    stored = users.add("anna", GOOD, Role.VIEWER, "test")
    assert extract_parameters(stored.password_hash) == RFC_9106_LOW_MEMORY
    session = users.sign_in("anna", GOOD, "192.0.2.1")
    found = fleet.server.context.auth.check_session(session)
    assert found is not None
    assert (found.name, found.role, found.key) == ("anna", Role.VIEWER, None)
    with pytest.raises(DeniedError):
        users.sign_in("anna", OTHER, "192.0.2.1")
    data = b"".join(path.read_bytes() for path in (fleet.folder / "data").glob(f"{DATABASE_NAME}*"))
    assert GOOD.encode() not in data
    assert session.encode() not in data


def test_a_stranger_costs_and_learns_the_same_as_a_wrong_password(
    fleet: Served, people: Users, hasher: PlainHasher
) -> None:
    answers = []
    for name in ("nobody", "anna", "somebody"):
        hasher.verified.clear()
        before = hasher.hashed
        with pytest.raises(DeniedError) as refused:
            people.sign_in(name, "wrong password", "192.0.2.1")
        answers.append((str(refused.value), len(hasher.verified)))
        assert hasher.hashed - before == (name == "nobody")  # the decoy, once, whoever comes first
    assert len(set(answers)) == 1
    assert sorted(audit(fleet, "sign_in_refused")) == [("anna", "anna"), ("unknown", "unknown"), ("unknown", "unknown")]


def test_too_many_wrong_passwords_wait_and_are_not_for_ever(
    fleet: Served, hasher: PlainHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    people = Users(fleet.server._database, Throttle(RATES | {Kind.PASSWORD: Rate(3, 300)}), fleet.clock, hasher)
    for name in ("anna", "bert"):
        people.add(name, GOOD, Role.VIEWER, "test")
    for _ in range(3):
        with pytest.raises(DeniedError):
            people.sign_in("anna", "wrong password", "192.0.2.1")
    hasher.verified.clear()
    for password in ("wrong password", GOOD):
        with pytest.raises(ThrottledError) as refused:
            people.sign_in("anna", password, "192.0.2.2")
        assert 1 <= refused.value.retry_after_s <= 300
    assert hasher.verified == []
    assert people.sign_in("bert", GOOD, "192.0.2.1")
    now[0] += 301
    for _ in range(5):  # a right password takes the wrong ones off
        assert people.sign_in("anna", GOOD, "192.0.2.1")


@pytest.mark.parametrize("change", [{"role": Role.VIEWER}, {"password": OTHER}])
def test_a_change_ends_the_sessions_and_links_of_that_user_alone(
    fleet: Served, people: Users, change: dict[str, object]
) -> None:
    auth = fleet.server.context.auth
    people.add("bert", GOOD, Role.VIEWER, "test")
    anna, bert = (people.sign_in(name, GOOD, "") for name in ("anna", "bert"))
    asker = auth.check_session(anna)
    assert asker is not None
    link = auth.make_code(asker)
    people.change("anna", "test", **change)  # type: ignore[arg-type] # a table's values
    assert auth.check_session(anna) is None
    with pytest.raises(DeniedError):
        auth.open_session(link)
    assert auth.check_session(bert) is not None


def test_a_removed_user_is_out_at_once(fleet: Served, people: Users) -> None:
    session = people.sign_in("anna", GOOD, "")
    people.remove("anna", "test")
    assert fleet.server.context.auth.check_session(session) is None
    with pytest.raises(NotFoundError):
        people.remove("anna", "test")


def test_a_password_changed_while_another_is_checked_lets_nobody_in(
    fleet: Served, people: Users, hasher: PlainHasher
) -> None:
    checking, changed = threading.Event(), threading.Event()
    real = hasher.verify

    def slow(stored: str, password: str, /) -> bool:
        checking.set()
        assert changed.wait(10)
        return real(stored, password)

    hasher.verify = slow  # type: ignore[method-assign] # this instant is what the test is about
    refused: list[Exception] = []

    def enter() -> None:
        try:
            people.sign_in("anna", GOOD, "")
        except DeniedError as error:
            refused.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    assert checking.wait(10)
    people.change("anna", "test", password=OTHER)
    changed.set()
    thread.join(10)
    assert len(refused) == 1


def test_ones_own_password_takes_the_old_one(fleet: Served, people: Users) -> None:
    asker = fleet.server.context.auth.check_session(people.sign_in("anna", GOOD, ""))
    assert asker is not None
    with pytest.raises(DeniedError):
        people.change_own_password(asker, OTHER, OTHER)
    people.change_own_password(asker, GOOD, OTHER)
    assert people.sign_in("anna", OTHER, "")
    assert audit(fleet, "password_changed") == [("anna", "anna")]


def test_an_old_hash_is_made_anew_at_the_next_sign_in(people: Users, hasher: PlainHasher) -> None:
    hasher.old, before = True, hasher.hashed
    people.sign_in("anna", GOOD, "")
    assert hasher.hashed == before + 2  # the decoy's is the other


@pytest.mark.parametrize("name", ["controller", "server", "builder", "device:pi-1", "Anna", "", "a" * 65])
def test_nobody_takes_the_name_of_a_part_of_the_server(people: Users, name: str) -> None:
    with pytest.raises(InvalidError):
        people.add(name, GOOD, Role.VIEWER, "test")


def test_a_name_is_one_users_or_one_keys(fleet: Served, people: Users) -> None:
    fleet.call("POST", "/keys", 409, json={"name": "anna", "role": "viewer"})
    fleet.call("POST", "/keys", 201, json={"name": "dash", "role": "viewer"})
    for name in ("dash", "anna", "operator"):
        with pytest.raises(ConflictError):
            people.add(name, GOOD, Role.VIEWER, "test")


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 201])
def test_a_password_is_long_enough_and_not_too_long(people: Users, password: str) -> None:
    with pytest.raises(InvalidError):
        people.change("anna", "test", password=password)


def test_a_moving_window_lets_as_many_in_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    throttle = Throttle({Kind.OPEN: Rate(2, 10)})
    throttle.count(Kind.OPEN, "a")
    now[0] = 1009.0
    throttle.count(Kind.OPEN, "a")
    throttle.count(Kind.OPEN, "b")
    with pytest.raises(ThrottledError) as refused:
        throttle.count(Kind.OPEN, "a")
    assert refused.value.retry_after_s == 1
    now[0] = 1010.5
    throttle.count(Kind.OPEN, "a")
    with pytest.raises(ThrottledError):
        throttle.count(Kind.OPEN, "a")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_household_is_one_address(host: str | None, name: str) -> None:
    assert name_address(host) == name
