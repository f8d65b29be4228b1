"""Enrolment believes only what the token's pin vouches for."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from edge_agent.adapters.enrolment import EnrolmentError, enrol, find_authority, is_loopback, split_token
from edge_agent.contract import codec
from edge_agent.contract.enrolment import Enrolment, EnrolRequest
from edge_agent.contract.messages import Capabilities
from tests.fakes.agent_authority import authority

BOARD = Capabilities("aarch64", 4, 1024, 500, 300, {}, "3.11", "0.1", "pi4")
ANSWER = Enrolment("dev", "{}", "{}", "edgeloop/v1", "127.0.0.1", 1883, "password")


class FakeApi(http.server.ThreadingHTTPServer):
    """Answers an enrolment as told, and keeps what was sent."""

    daemon_threads = True
    answer: bytes = codec.encode(ANSWER)
    status = 200
    ca_pem = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[dict[str, object]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up: that is the point."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeApi

    def do_POST(self) -> None:
        self.server.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(self.server.status, self.server.answer)

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/ca.pem" else 404, self.server.ca_pem)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(api: FakeApi) -> Iterator[FakeApi]:
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        api.shutdown()
        thread.join()
        api.server_close()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with serving(FakeApi()) as found:
        yield found


def request(pin: str) -> EnrolRequest:
    return EnrolRequest(f"secret.{pin}", "dev", "d" * 64, BOARD)


def test_the_pin_is_of_the_authority_on_loopback_too(api: FakeApi, tmp_path: Path) -> None:
    der, _ = authority(tmp_path, "fleet")
    url = f"http://127.0.0.1:{api.server_port}/"
    api.ca_pem = b"junk before\n" + ssl.DER_cert_to_PEM_cert(der).encode()
    with pytest.raises(EnrolmentError, match="no certificate"):
        find_authority(url, f"secret.{sha256(der).hexdigest()}")
    api.ca_pem = ssl.DER_cert_to_PEM_cert(der).encode()
    found = find_authority(url, f"secret.{sha256(der).hexdigest()}")
    assert ssl.PEM_cert_to_DER_cert(found) == der
    assert enrol(url, request("a" * 64), found) == ANSWER
    assert api.sent[0]["token"] == "secret"
    with pytest.raises(EnrolmentError, match="authority is not the one"):
        find_authority(url, f"secret.{'e' * 64}")
    assert len(api.sent) == 1  # the secret goes to no other server


def test_a_refusal_is_told_in_the_servers_words(api: FakeApi) -> None:
    api.status, api.answer = 403, b'{"title":"Forbidden","detail":"the token has been used"}'
    with pytest.raises(EnrolmentError, match="403: the token has been used"):
        enrol(f"http://127.0.0.1:{api.server_port}", request("a" * 64), "")


LETS_NOBODY_IN = codec.encode(Enrolment("dev", "{}", "{}", "edgeloop/v1", "127.0.0.1", 1883))


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"<html>", codec.encode(ANSWER).replace(b'"dev"', b'"other"'), LETS_NOBODY_IN]
)
def test_a_wrong_answer_is_refused(api: FakeApi, answer: bytes) -> None:
    api.answer = answer
    with pytest.raises(EnrolmentError):
        enrol(f"http://127.0.0.1:{api.server_port}", request("a" * 64), "")


@pytest.mark.parametrize("url", ["http://fleet.example", "http://10.0.0.1:80", "ftp://127.0.0.1", "fleet.example"])
def test_plain_http_beyond_loopback_is_refused(url: str) -> None:
    with pytest.raises(EnrolmentError, match="https"):
        find_authority(url, f"secret.{'a' * 64}")
    with pytest.raises(EnrolmentError, match="https"):
        enrol(url, request("a" * 64), "")


def test_no_server_is_said_so() -> None:
    api = FakeApi()
    api.server_close()
    with pytest.raises(EnrolmentError, match="cannot be reached"):
        find_authority(f"http://127.0.0.1:{api.server_port}", f"secret.{'a' * 64}")


@pytest.mark.parametrize("token", ["", "secret", "secret.", "." + "a" * 64, "secret." + "a" * 63, "secret." + "G" * 64])
def test_a_token_that_was_cut_is_told(token: str) -> None:
    with pytest.raises(EnrolmentError, match="copy all of it"):
        split_token(token)


def test_loopback_is_by_address() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("10.0.0.1", "127.0.0.1.evil.example", "localhost.evil", "")] == [False] * 4


def test_over_tls_the_pin_is_the_authority(tmp_path: Path) -> None:
    der, chain = authority(tmp_path, "fleet")
    other_der, _ = authority(tmp_path, "other")
    api = FakeApi()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    api.socket = context.wrap_socket(api.socket, server_side=True)
    with serving(api):
        url = f"https://127.0.0.1:{api.server_port}"
        pem, other_pem = ssl.DER_cert_to_PEM_cert(der), ssl.DER_cert_to_PEM_cert(other_der)
        api.ca_pem = pem.encode()
        assert (
            enrol(url, request(sha256(der).hexdigest()), find_authority(url, f"s.{sha256(der).hexdigest()}")) == ANSWER
        )
        with pytest.raises(EnrolmentError, match="authority is not the one"):
            find_authority(url, f"s.{sha256(other_der).hexdigest()}")
        sent = len(api.sent)
        for believed in (other_pem, "", "no certificate"):  # the right authority's text from a wrong server
            with pytest.raises(EnrolmentError, match=r"cannot be reached|not known here"):
                enrol(url, request(sha256(other_der).hexdigest()), believed)
        assert len(api.sent) == sent  # the secret was not sent to it
