"""The page in a real browser, against the fake server: what a person sees, and that it breaks no rule of its own."""

import re
from collections.abc import Iterator

import pytest

from tests.fakes.browser import CHROMIUM, Browser, browsing
from tests.fakes.web_api import serving
from tests.fakes.web_routes import FakeFleet, full_fleet

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browsing() as found:
        yield found


@pytest.fixture
def fleet(browser: Browser) -> FakeFleet:
    """The small fleet; nobody is signed in, and the browser has logged nothing."""
    browser.begin_anew()
    found = full_fleet()
    found.keep_streaming = True
    return found


@pytest.fixture
def url(fleet: FakeFleet) -> Iterator[str]:
    """The address of its server."""
    with serving(fleet) as address:
        yield address


def text(browser: Browser, selector: str) -> str:
    """What a person reads in a place."""
    return re.sub(r"\s+", " ", browser.value(f"document.querySelector({selector!r}).innerText"))


def test_the_whole_fleet_is_shown_live(browser: Browser, url: str) -> None:
    browser.open(f"{url}/signin?code=first")
    browser.wait("document.querySelector('.drift-body')")
    browser.wait("document.querySelector('#live').dataset.state == 'live'")
    assert "3 of 4" in text(browser, "#fleet")
    devices = text(browser, "#devices")
    for word in ("gate-zero", "pi-zero-2w · simulated", "fetching", "lost", "digits@2", "µs"):
        assert word in devices
    rollouts = text(browser, "#rollouts")
    for word in (
        "halted",
        "1 device failed, 0 are allowed",
        "1 of 3",
        "3 of 20 rows answered NaN",
        "0 of 3 canary and",
    ):
        assert word in rollouts
    assert "tflite-int8" in text(browser, "#models")
    drifted = text(browser, "#drift")
    for word in ("18 of 64 features moved", "on 2 of 2 devices", "2 devices drift by themselves", "accuracy is about"):
        assert word in drifted
    assert browser.value("document.querySelectorAll('#drift .map svg:first-child rect').length") == 64
    assert "roll back" in text(browser, "#feed")
    assert browser.value("document.querySelectorAll('#devices svg.spark').length") == 8
    assert browser.errors == []


def test_an_event_changes_the_page_without_a_reload(browser: Browser, url: str, fleet: FakeFleet) -> None:
    fleet.stream = [("fleet", {"online": 4, "devices": 4}), ("decision", {})]
    fleet.decisions.insert(0, {**fleet.decisions[0], "id": "9", "reason": "a new decision"})
    browser.open(f"{url}/signin?code=first")
    browser.wait("document.querySelector('#fleet')?.innerText.includes('4\\n of 4') || "
                 "document.querySelector('#fleet')?.innerText.includes('4 of 4')")  # fmt: skip
    browser.wait("document.querySelector('#feed').innerText.includes('a new decision')")
    assert browser.errors == []


def test_a_stream_that_fails_becomes_polling(browser: Browser, url: str, fleet: FakeFleet) -> None:
    fleet.keep_streaming = False
    browser.open(f"{url}/signin?code=first")
    browser.wait("document.querySelector('#live').dataset.state == 'polling'")
    assert text(browser, "#live") == "every 10 s"


def test_without_a_session_it_says_how_to_get_one(browser: Browser, url: str) -> None:
    browser.open(f"{url}/")
    browser.wait("document.querySelector('#signin h1')")
    assert "edgeloop signin" in text(browser, "#signin")
    assert browser.value("document.querySelector('#board').hidden")
    browser.value(
        f"(document.querySelector('#signin-link').value = '{url}/signin?code=first',"
        " document.querySelector('#signin-by-link').requestSubmit())"
    )
    browser.wait("document.querySelector('#devices')?.innerText.includes('porch-pi')")


def test_an_empty_fleet_says_the_next_command(browser: Browser, url: str, fleet: FakeFleet) -> None:
    for rows in (fleet.devices, fleet.versions, fleet.rollouts, fleet.groups):
        rows.clear()
    for found in (fleet.events, fleet.decisions, fleet.health):
        found.clear()
    browser.open(f"{url}/signin?code=first")
    browser.wait("document.querySelector('#devices .empty')")
    assert "edgeloop device token" in text(browser, "#devices")
    assert "edgeloop model push DIR" in text(browser, "#models")
    assert "edgeloop rollout start" in text(browser, "#rollouts")
    assert browser.errors == []


def test_the_words_of_a_device_stay_words(browser: Browser, url: str, fleet: FakeFleet) -> None:
    fleet.events.insert(0, {**fleet.events[0], "detail": "<img src=x onerror=alert(1)><b>loud</b>"})
    browser.open(f"{url}/signin?code=first")
    browser.wait("document.querySelector('#feed .feed')")
    assert "<b>loud</b>" in text(browser, "#feed")
    assert browser.value("document.querySelectorAll('#feed img, #feed b').length") == 0


def test_a_filter_keeps_the_devices_that_match(browser: Browser, url: str) -> None:
    browser.open(f"{url}/signin?code=first")
    browser.wait("document.querySelector('#devices tbody')")
    browser.value(
        "(document.querySelector('#device-filter').value = 'site=north',"
        " document.querySelector('#device-filter').dispatchEvent(new Event('input')))"
    )
    browser.wait("document.querySelectorAll('#devices tbody tr').length == 2")


@pytest.mark.parametrize(("width", "dark"), [(360, False), (768, True), (1440, False)])
def test_it_fits_any_width_and_its_text_has_contrast(browser: Browser, url: str, width: int, dark: bool) -> None:
    browser.open(f"{url}/signin?code=first", width=width, dark=dark)
    browser.wait("document.querySelector('.drift-body')")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(CONTRAST) >= 4.5


# WCAG 2.2, relative luminance and contrast ratio: the least of the palette's text colours on the card's ground.
CONTRAST = """
(() => {
  const probe = document.body.appendChild(document.createElement('i'));
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    probe.style.color = style.getPropertyValue(name).trim();
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number)
      .map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const ground = light('--card');
  const least = Math.min(...['--ink', '--soft', '--accent', '--good', '--warn', '--bad', '--move', '--odd']
    .map((name) => ratio(light(name), ground)));
  probe.remove();
  return least;
})()
"""
