"""Proposals on the page: why they opened, what was measured, and a person's word on one."""

import re
from collections.abc import Iterator

import pytest

from tests.fakes.browser import CHROMIUM, Browser, browsing
from tests.fakes.web_api import serving
from tests.fakes.web_data import ASKER
from tests.fakes.web_routes import FakeFleet, full_fleet

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture
def fleet() -> FakeFleet:
    found = full_fleet()
    found.keep_streaming = True
    return found


@pytest.fixture
def page(browser: Browser, fleet: FakeFleet) -> Iterator[Browser]:
    browser.begin_anew()
    with serving(fleet) as address:
        browser.open(f"{address}/signin?code=first")
        browser.wait("document.querySelectorAll('#proposals article').length == 2")
        yield browser


def text(browser: Browser) -> str:
    return re.sub(r"\s+", " ", browser.value("document.querySelector('#proposals').innerText"))


def test_a_person_reads_why_and_accepts(page: Browser, fleet: FakeFleet) -> None:
    page.wait("document.querySelector('#proposals button')")
    for words in ("rose by about 0.5 σ", "80.0 % → 91.0 %, gain at least 4.0 %", "→ version 2", "proposed", "done"):
        assert words in text(page)
    page.value("document.querySelector('#proposals button[type=button]').click()")
    page.wait("document.querySelector('#proposals').innerText.includes('accepted')")
    assert fleet.proposals["pr-2"]["state"] == "accepted"
    assert page.errors == []


def test_a_person_declines_with_a_reason(page: Browser, fleet: FakeFleet) -> None:
    page.wait("document.querySelector('#proposals form')")
    page.value("document.querySelector('#proposals form').requestSubmit()")  # without one it is not sent
    page.value(
        "(document.querySelector('#proposals input').value = 'the season',"
        " document.querySelector('#proposals form').requestSubmit())"
    )
    page.wait("document.querySelector('#proposals').innerText.includes('declined: the season')")
    assert fleet.proposals["pr-2"]["state"] == "declined"


def test_who_may_only_read_has_no_buttons(browser: Browser, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASKER, "permissions", ["read"])
    browser.begin_anew()
    with serving(fleet) as address:
        browser.open(f"{address}/signin?code=first")
        browser.wait("document.querySelectorAll('#proposals article').length == 2")
        browser.wait("document.querySelector('#who').innerText.includes('operator')")
        assert browser.value("document.querySelectorAll('#proposals button').length") == 0
