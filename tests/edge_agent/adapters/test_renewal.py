"""Renewal of the certificate: the old pair or the new one through any cut, a new key each time, nothing else taken."""

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from edge_agent.adapters import durable, renewal
from edge_agent.adapters.enrolment import EnrolmentError, RefusedError
from edge_agent.adapters.identity import Identity, load_identity, save_identity
from edge_agent.contract import codec
from edge_agent.contract.enrolment import Renewal, RenewRequest
from edge_agent.contract.envelope import PayloadType, open_envelope, pre_authentication_encoding
from edge_agent.core.renewal_rules import choose_renewal
from fleet_server.services.certificates import check_csr, issue
from tests.fakes.certificates import Certifier, now_ms

SEED = bytes(range(32))
DAY_S = 24 * 3600


class Server(http.server.ThreadingHTTPServer):
    """Answers challenges and signed requests as the fleet's server does, or as `answer` says."""

    daemon_threads = True

    def __init__(self, certifier: Certifier) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.certifier = certifier
        self.answer: Callable[[RenewRequest], tuple[int, object]] = self.certify
        self.requests: list[RenewRequest] = []

    def certify(self, request: RenewRequest) -> tuple[int, object]:
        made = issue(self.certifier.authority, check_csr(request.csr, "dev"), "dev", now_ms(), 60)
        return 200, Renewal(made.pem)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send(200, {"nonce": "the challenge"})

    def do_POST(self) -> None:
        envelope = open_envelope(self.rfile.read(int(self.headers["Content-Length"])), PayloadType.RENEWAL)
        signed = pre_authentication_encoding(PayloadType.RENEWAL, envelope.content)
        SigningKey(SEED).verify_key.verify(signed, envelope.signatures[0].raw)
        request = codec.decode(RenewRequest, envelope.content)
        self.server.requests.append(request)
        self._send(*self.server.answer(request))

    def _send(self, status: int, value: object) -> None:
        body = json.dumps(value).encode() if isinstance(value, dict) else codec.encode(value)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(Certifier(tmp_path / "keys"))
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def state(tmp_path: Path, server: Server) -> Path:
    """The state folder of a device that has renewed once."""
    folder = tmp_path / "state"
    folder.mkdir()
    url = f"http://127.0.0.1:{server.server_port}"
    made = Identity("dev", SEED.hex(), url, "edgeloop/v1", "127.0.0.1", 1, fleet_ca=server.certifier.authority.pem)
    save_identity(folder, made)
    assert renewal.renew(folder)
    return folder


def usable(state: Path) -> str:
    """The name of the pair in use, after a look that TLS takes it."""
    name = load_identity(state).tls_file
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(state / name)
    assert (state / name).stat().st_mode & 0o777 == 0o600
    return name


def test_a_renewal_has_a_new_key_and_leaves_one_pair(state: Path, server: Server) -> None:
    before, request = usable(state), server.requests[-1]
    assert renewal.renew(state)
    assert usable(state) != before
    assert [path.name for path in state.glob("tls-*")] == [usable(state)]
    assert server.requests[-1].csr != request.csr
    assert (request.device, request.nonce) == ("dev", "the challenge")
    held = load_identity(state)
    lifetime_s = 61 * DAY_S  # it begins a day before it was made
    assert abs((held.expires - held.renew_at) / lifetime_s - 1 / 3) < 1 / 12 + 0.01


class PowerCut(BaseException):
    """Nothing runs after this."""


@pytest.mark.parametrize("cut", range(6))
def test_a_power_cut_leaves_the_old_pair_or_the_new_one(state: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """Before and after each durable step: the pair's file, its folder's entry, and the identity that names it."""
    before, steps = usable(state), []

    def cutting(function: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: object, **named: object) -> None:
            if len(steps) == cut:
                raise PowerCut
            steps.append(function.__name__)
            function(*arguments, **named)
            if len(steps) == cut:
                raise PowerCut

        return step

    monkeypatch.setattr(durable, "replace_file", cutting(durable.replace_file))
    monkeypatch.setattr(durable, "sync_folder", cutting(durable.sync_folder))
    if cut < 5:
        with pytest.raises(PowerCut):
            renewal.renew(state)
    else:
        assert renewal.renew(state)
        assert steps == ["replace_file", "sync_folder"] * 2
    monkeypatch.undo()
    assert (usable(state) == before) == (cut < 3)
    assert renewal.renew(state)
    assert [path.name for path in state.glob("tls-*")] == [usable(state)]


def test_what_does_not_answer_the_request_is_not_taken(state: Path, server: Server, tmp_path: Path) -> None:
    held = (state / "identity.json").read_bytes()
    other = server.certifier.certify("dev").read_text()
    named = server.certifier.certify("other").read_text()
    for answer in (
        Renewal(),
        Renewal(other),
        Renewal(named),
        Renewal("no certificate"),
        Renewal(""),
        {"certificate": 1},
    ):
        server.answer = lambda _request, answer=answer: (200, answer)  # type: ignore[misc]
        with pytest.raises(EnrolmentError):
            renewal.renew(state)
    server.answer = lambda _request: (403, {"detail": "dev is revoked"})
    with pytest.raises(RefusedError, match="dev is revoked"):
        renewal.renew(state)
    server.answer = lambda _request: (200, Renewal(pending=True))
    assert not renewal.renew(state)
    assert (state / "identity.json").read_bytes() == held
    usable(state)
    assert renewal.main(state) == renewal.PENDING
    assert renewal.main(tmp_path / "nowhere") == renewal.FAILED


def test_a_device_with_a_password_is_only_told_whether_it_is_let_in(state: Path, server: Server) -> None:
    save_identity(state, replace(load_identity(state), broker_password="pw", tls_file=""))
    for pending in (True, False):
        server.answer = lambda _request, pending=pending: (200, Renewal(pending=pending))  # type: ignore[misc]
        assert renewal.renew(state) == (not pending)
    assert load_identity(state).tls_file == ""


def test_no_server_costs_nothing(state: Path) -> None:
    save_identity(state, replace(load_identity(state), server_url="http://127.0.0.1:9"))
    with pytest.raises(EnrolmentError, match="cannot be reached"):
        renewal.renew(state)
    usable(state)


@pytest.mark.parametrize(("chance", "day"), [(0.0, 35), (0.5, 40), (0.999999, 45)])
def test_renewals_spread_around_two_thirds_of_the_lifetime(chance: float, day: int) -> None:
    assert round(choose_renewal(0, 60 * DAY_S, chance) / DAY_S) == day
