"""Which broker is used, and what is refused with a word on what to do."""

from pathlib import Path

import pytest

from edge_agent.contract.topics import Topics
from fleet_server.broker import brokers
from fleet_server.broker.brokers import BrokerKind, BrokerSetupError, is_loopback
from fleet_server.broker.choice import open_broker
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.external import parse_broker_url
from tests.fakes.certificates import Certifier

TOPICS = Topics()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "mosquitto-2"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("EDGELOOP_MOSQUITTO", str(program))
    return program


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGELOOP_MOSQUITTO", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(brokers, "_MOSQUITTO_PLACES", ())


@pytest.mark.usefixtures("installed")
def test_auto_is_mosquitto_where_it_is_installed(tmp_path: Path) -> None:
    assert open_broker("auto", tmp_path, TOPICS, tls=Certifier(tmp_path / "keys").tls).kind is BrokerKind.MOSQUITTO
    assert open_broker("iotcore", tmp_path, TOPICS).kind is BrokerKind.IOTCORE


@pytest.mark.usefixtures("absent")
def test_without_mosquitto_auto_is_the_tryout_broker_on_loopback_only(tmp_path: Path) -> None:
    broker = open_broker("auto", tmp_path, TOPICS)
    assert broker.kind is BrokerKind.IOTCORE
    assert "for trying out only" in broker.notice
    assert "no access lists" in broker.accounts.advice
    with pytest.raises(BrokerSetupError, match=r"needs Mosquitto: install it \(apt-get install mosquitto\)"):
        open_broker("auto", tmp_path, TOPICS, listen_host="0.0.0.0")
    with pytest.raises(BrokerSetupError, match="Mosquitto was not found"):
        open_broker("mosquitto", tmp_path, TOPICS)


def test_a_variable_that_names_no_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_MOSQUITTO", str(tmp_path / "nothing"))
    with pytest.raises(BrokerSetupError, match="is no program"):
        open_broker("auto", tmp_path, TOPICS)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_no_listener_without_certificates(tmp_path: Path, host: str) -> None:
    with pytest.raises(BrokerSetupError, match="needs the certificates"):
        open_broker("mosquitto", tmp_path, TOPICS, listen_host=host)
    made = open_broker("mosquitto", tmp_path, TOPICS, listen_host=host, tls=Certifier(tmp_path / "keys").tls)
    assert "BEGIN CERTIFICATE" in (made.endpoint().ca_pem or "")
    assert made.accounts.certificates


def test_an_external_broker_says_what_to_configure(tmp_path: Path) -> None:
    broker = open_broker("mqtt://_server:pw@127.0.0.1:1884", tmp_path, TOPICS)
    assert broker.kind is BrokerKind.EXTERNAL
    assert broker.address() == BrokerAddress("127.0.0.1", 1884, "_server", "pw")
    assert not broker.accounts.enforced
    assert f"{TOPICS.root}/d/%u/up/#" in broker.accounts.advice
    assert "password" in broker.accounts.advice
    assert not broker.accounts.certificates
    other = open_broker("mqtt://_server:pw@127.0.0.1:1884", tmp_path, TOPICS, certificates=True)
    assert "keys/crl.pem" in other.accounts.advice
    assert other.accounts.certificates


def test_urls() -> None:
    found = parse_broker_url("mqtts://a%40b:p%2Fw@broker.example")
    assert found == BrokerAddress("broker.example", 8883, "a@b", "p/w", tls=True)
    for url, told in [
        ("mqtt://user:pw@broker.example", "use mqtts"),
        ("http://broker.example", "a broker's URL is"),
        ("mqtts://", "a broker's URL is"),
        ("mqtts://broker.example:99999", "bad port"),
        ("mqtts://broker.example/path", "a broker's URL is"),
    ]:
        with pytest.raises(BrokerSetupError, match=told):
            parse_broker_url(url)
    with pytest.raises(BrokerSetupError, match="is no broker"):
        open_broker("rabbit", Path(), TOPICS)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.2", False),
        ("pi.local", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
