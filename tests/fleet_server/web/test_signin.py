"""Signing in and out in a real browser, against the real server: its cookies, its policy, its checks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_server.core.permissions import Role
from tests.fakes.browser import CHROMIUM, Browser, browsing
from tests.fakes.server_app import served
from tests.fakes.server_http import listening

GOOD = "correct horse battery"

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for this file."""
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that knows one user."""
    folder: Path = tmp_path_factory.mktemp("signin")
    with served(folder) as fleet, listening(fleet.server.application) as address:
        fleet.server.context.users.add("anna", GOOD, Role.OPERATOR, "test")
        yield address
        fleet.server.context.announcer.close()


def enter(browser: Browser, name: str, password: str) -> None:
    browser.value(
        f"(document.querySelector('#signin-name').value = {name!r},"
        f" document.querySelector('#signin-password').value = {password!r},"
        " document.querySelector('#signin-by-name').requestSubmit())"
    )


def test_a_person_signs_in_sees_who_they_are_and_signs_out(browser: Browser, url: str) -> None:
    browser.open(f"{url}/")
    browser.wait("document.querySelector('#signin-by-name')")
    browser.errors.clear()  # the browser logs the 401 that showed the form
    enter(browser, "anna", "not her password")
    browser.wait("document.querySelector('#signin-problem').textContent")
    assert "wrong" in browser.value("document.querySelector('#signin-problem').textContent")
    assert browser.value("document.querySelector('#signin-password').value") == ""
    browser.errors.clear()  # and the 403
    enter(browser, "anna", GOOD)
    browser.wait("document.querySelector('#who span')")
    assert browser.value("document.querySelector('#who span').innerText") == "anna · operator"
    browser.wait("!document.querySelector('#board').hidden")
    assert browser.value("document.cookie") == ""
    assert browser.errors == []
    browser.value("document.querySelector('#signout').click()")
    browser.wait("document.querySelector('#signin-by-name')")
    assert browser.value("document.querySelector('#board').hidden")


def test_markup_from_text_is_refused_by_the_browser_itself(browser: Browser, url: str) -> None:
    browser.begin_anew()
    browser.open(f"{url}/")
    browser.wait("document.querySelector('#signin-by-name')")
    script = "try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch (error) { return error.name; }"
    assert browser.value(f"(() => {{ {script} }})()") == "TypeError"
