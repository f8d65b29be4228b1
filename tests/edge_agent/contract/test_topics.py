"""Topics: what is built parses back, and what no device may write is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.topics import Topics, Up, UpTopic, check_device_id, check_digest, check_name
from tests.fakes.words import DEVICES, DIGESTS, NAMES

DIGEST = "0123456789abcdef" * 4
TOPICS = Topics()


@given(device=DEVICES, kind=st.sampled_from([kind for kind in Up if kind is not Up.HEALTH]))
def test_what_a_device_writes_parses_back(device: str, kind: Up) -> None:
    """Device and kind survive the way through the topic."""
    assert TOPICS.parse_up(TOPICS.up(device, kind)) == UpTopic(device, kind)


@given(device=DEVICES, model=NAMES)
def test_health_names_its_model(device: str, model: str) -> None:
    """Health has a topic for each model."""
    assert TOPICS.parse_up(TOPICS.health(device, model)) == UpTopic(device, Up.HEALTH, model)


@given(device=DEVICES, cohort=NAMES, digest=DIGESTS)
def test_a_digest_is_read_from_chunks_and_blocks(device: str, cohort: str, digest: str) -> None:
    """Both ways that bytes come end in their digest."""
    assert TOPICS.parse_digest(TOPICS.chunk(cohort, digest)) == digest
    assert TOPICS.parse_digest(TOPICS.block(device, digest)) == digest


def test_the_topics_are_these() -> None:
    """Names on the wire are a promise to devices in the field: spelled out once, here."""
    topics = Topics("site-7/fleet")
    assert topics.up("pi-1", Up.STATUS) == "site-7/fleet/d/pi-1/up/status"
    assert topics.up("pi-1", Up.REPORTED) == "site-7/fleet/d/pi-1/up/reported"
    assert topics.up("pi-1", Up.WINDOW) == "site-7/fleet/d/pi-1/up/window"
    assert topics.up("pi-1", Up.EVENT) == "site-7/fleet/d/pi-1/up/event"
    assert topics.up("pi-1", Up.FEEDBACK) == "site-7/fleet/d/pi-1/up/feedback"
    assert topics.up("pi-1", Up.GET) == "site-7/fleet/d/pi-1/up/get"
    assert topics.health("pi-1", "digits") == "site-7/fleet/d/pi-1/up/health/digits"
    assert topics.desired("pi-1") == "site-7/fleet/d/pi-1/dn/desired"
    assert topics.block("pi-1", DIGEST) == f"site-7/fleet/d/pi-1/dn/block/{DIGEST}"
    assert topics.chunk("pi4", DIGEST) == f"site-7/fleet/c/pi4/{DIGEST}"
    assert topics.server_status() == "site-7/fleet/server/status"
    assert topics.ingest() == "site-7/fleet/d/+/up/#"
    assert topics.ingest("ingest") == "$share/ingest/site-7/fleet/d/+/up/#"
    assert topics.retained_up() == ("site-7/fleet/d/+/up/status", "site-7/fleet/d/+/up/reported")
    assert Topics().root == "edgeloop/v1"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "edgeloop/v1",
        "edgeloop/v1/d/pi/up",
        "edgeloop/v1/d/pi/up/",
        "edgeloop/v1/d/pi/up/unknown",
        "edgeloop/v1/d/pi/up/health",
        "edgeloop/v1/d/pi/up/health/",
        "edgeloop/v1/d/pi/up/health/a/b",
        "edgeloop/v1/d/pi/up/health/A",
        "edgeloop/v1/d/pi/up/status/extra",
        "edgeloop/v1/d/pi/up/status\n",
        "edgeloop/v1/d/PI/up/status",
        "edgeloop/v1/d//up/status",
        "edgeloop/v1/d/+/up/status",
        "edgeloop/v1/d/pi/up/#",
        "edgeloop/v1/d/pi/dn/desired",
        f"edgeloop/v1/d/{'a' * 65}/up/status",
        "edgeloop/v2/d/pi/up/status",
        "xedgeloop/v1/d/pi/up/status",
        "x/edgeloop/v1/d/pi/up/status",
        "edgeloop.v1/d/pi/up/status",
    ],
)
def test_what_no_device_writes_is_refused(topic: str) -> None:
    """A topic that is nearly right is wrong."""
    with pytest.raises(ValueError, match=r"no topic that a device writes|health names a model"):
        TOPICS.parse_up(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "edgeloop/v1/c/pi4",
        f"edgeloop/v1/c/{DIGEST}",
        f"edgeloop/v1/c/pi4/x/{DIGEST}",
        f"edgeloop/v1/d/pi/dn/{DIGEST}",
        f"edgeloop/v1/d/pi/up/block/{DIGEST}",
        f"other/c/pi4/{DIGEST}/x",
        "edgeloop/v1/c/pi4/0123",
        f"edgeloop/v1/c/pi4/{DIGEST.upper()}",
    ],
)
def test_no_digest_is_read_from_other_topics(topic: str) -> None:
    """Only a chunk's or a block's topic ends in a digest."""
    with pytest.raises(ValueError, match=r"no chunk or block topic|a digest is 64"):
        TOPICS.parse_digest(topic)


@pytest.mark.parametrize("root", ["", "/", "a/", "/a", "a//b", "a/+", "#", "a b", "$share", "é"])
def test_a_root_is_plain_levels(root: str) -> None:
    """No wildcard, no empty level, no share."""
    with pytest.raises(ValueError, match="topic root"):
        Topics(root)


@pytest.mark.parametrize("bad", ["", "A", "a/b", "a+", "#", "a" * 65, "ü", "a\n", " a"])
def test_names_and_ids_are_checked(bad: str) -> None:
    """Nothing that the broker would read as a level or a wildcard passes."""
    for check in (check_device_id, check_name, check_digest):
        with pytest.raises(ValueError, match=r"is 1 to 64|is 64 lower-case"):
            check(bad)


def test_building_checks_its_parts() -> None:
    """A topic cannot be built from what would not parse."""
    for build in (
        lambda: TOPICS.up("a/b", Up.STATUS),
        lambda: TOPICS.up("a", Up.HEALTH),
        lambda: TOPICS.health("a", "b/c"),
        lambda: TOPICS.chunk("+", DIGEST),
        lambda: TOPICS.block("a", "0"),
        lambda: TOPICS.desired("#"),
        lambda: TOPICS.ingest("a/b"),
    ):
        with pytest.raises(ValueError, match=r"."):
            build()
