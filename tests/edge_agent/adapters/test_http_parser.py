"""Both parsers against the same table, under every split of the bytes, every truncated prefix, and garbage."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.http_h11 import H11Parser
from edge_agent.adapters.http_httptools import HttptoolsParser
from edge_agent.adapters.http_message import Limits, Request
from edge_agent.adapters.http_parser import RequestParser

LIMITS = Limits(head_bytes=1000, body_bytes=100)
MakeParser = Callable[[Limits], RequestParser]
both = pytest.mark.parametrize("make", [HttptoolsParser, H11Parser])

POST = b"POST /predict?threshold=0.5 HTTP/1.1\r\nHost: device\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
GET = b"GET /v2/models/a%20b HTTP/1.1\r\nhost: d\r\nX-Two: a\r\nX-Two: b\r\n\r\n"
OLD = b"GET /old HTTP/1.0\r\n\r\n"
CLOSE = b"GET /last HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
ABSOLUTE = b"GET http://device/a?b=c HTTP/1.1\r\nHost: device\r\n\r\n"
WELL_FORMED = [POST, CHUNKED, GET, OLD, CLOSE, ABSOLUTE, POST + GET + CHUNKED, GET + CLOSE]

REFUSED = [
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n", {400, 501}),
    ("words", b"hello there\r\n\r\n", {400, 501}),
    ("unknown method", b"BREW /pot HTTP/1.1\r\nHost: d\r\n\r\n", {501}),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", {400}),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", {400}),
    (
        "both framings",
        b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    ("length no number", b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: abc\r\n\r\n", {400}),
    ("negative length", b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n", {400}),
    ("too large", b"POST /predict/demo HTTP/1.1\r\nHost: d\r\nContent-Length: 101\r\n\r\n", {413}),
    ("chunks too large", b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, {413}),
    ("bad chunk size", b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
    ("gzip coding", b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", {501}),
    ("long head", b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"y" * 1000 + b"\r\n\r\n", {431}),
    ("endless head", b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"y" * 5000, {431}),
    ("expectation", b"POST / HTTP/1.1\r\nHost: d\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", {417}),
    ("authority form", b"CONNECT device:80 HTTP/1.1\r\nHost: d\r\n\r\n", {400, 501}),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: d\r\n\r\n", {400}),
    ("version 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 501, 505}),
    ("space in header name", b"GET / HTTP/1.1\r\nHost: d\r\nBad Name: x\r\n\r\n", {400}),
]


def _parse(make: MakeParser, pieces: list[bytes]) -> tuple[list[Request], int | None]:
    parser = make(LIMITS)
    for piece in pieces:
        parser.feed(piece)
    return list(parser.requests), None if parser.error is None else parser.error.status


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@both
@given(cuts=st.lists(st.integers(0, 10_000), max_size=4))
def test_an_offered_upgrade_is_passed_over(make: MakeParser, cuts: list[int]) -> None:
    """As a Java client offers one with its first request; what follows on the connection is read as before."""
    head = b"Host: d\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
    stream = b"POST /predict HTTP/1.1\r\n" + head + b"Content-Length: 5\r\n\r\nhello" + GET
    found, error = _parse(make, _cut(stream, cuts))
    assert error is None
    assert [(item.method, item.body, item.keep_alive) for item in found] == [
        ("POST", b"hello", True),
        ("GET", b"", True),
    ]


@both
def test_requests_come_out_whole(make: MakeParser) -> None:
    (request,), error = _parse(make, [POST])
    assert error is None
    assert (request.method, request.path, request.body, request.keep_alive) == ("POST", "/predict", b"hello", True)
    assert request.parameters() == {"threshold": "0.5"}
    assert _parse(make, [CHUNKED])[0][0].body == b"abcde"
    (request,), _ = _parse(make, [GET])
    assert (request.path, request.headers["x-two"]) == ("/v2/models/a b", "a, b")
    assert not _parse(make, [OLD])[0][0].keep_alive
    assert not _parse(make, [CLOSE])[0][0].keep_alive
    (request,), _ = _parse(make, [ABSOLUTE])
    assert (request.path, request.query) == ("/a", "b=c")


@both
def test_pipelined_requests_come_in_order_and_nothing_after_the_last(make: MakeParser) -> None:
    requests, error = _parse(make, [POST + CHUNKED + GET])
    assert [request.path for request in requests] == ["/predict", "/a", "/v2/models/a b"]
    assert error is None
    requests, error = _parse(make, [GET + CLOSE + POST, b"garbage"])
    assert [request.path for request in requests] == ["/v2/models/a b", "/last"]
    assert error is None


@both
@pytest.mark.parametrize("data", WELL_FORMED)
def test_every_split_in_two_and_single_bytes_give_the_same(make: MakeParser, data: bytes) -> None:
    whole = _parse(make, [data])
    assert whole[1] is None
    assert _parse(make, [bytes([byte]) for byte in data]) == whole
    for cut in range(1, len(data)):
        assert _parse(make, [data[:cut], data[cut:]]) == whole


@settings(max_examples=150)
@given(st.sampled_from(WELL_FORMED), st.lists(st.integers(0, 1000), max_size=6))
def test_both_parsers_agree_under_any_split(data: bytes, cuts: list[int]) -> None:
    pieces = _cut(data, cuts)
    assert _parse(HttptoolsParser, pieces) == _parse(H11Parser, pieces)


@both
@pytest.mark.parametrize("data", [POST, CHUNKED, GET, OLD])
def test_no_truncated_prefix_is_a_request(make: MakeParser, data: bytes) -> None:
    for length in range(len(data)):
        requests, error = _parse(make, [data[:length]])
        assert requests == []
        assert error is None


@both
@pytest.mark.parametrize(("data", "statuses"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_not_understood_is_refused(make: MakeParser, data: bytes, statuses: set[int]) -> None:
    for pieces in ([data], [bytes([byte]) for byte in data]):
        requests, error = _parse(make, pieces)
        assert requests == []
        assert error in statuses


@both
@settings(max_examples=200)
@given(data=st.binary(max_size=300), after=st.booleans())
def test_garbage_never_raises(make: MakeParser, data: bytes, after: bool) -> None:
    requests, _error = _parse(make, [GET, data] if after else [data])
    assert len(requests) >= int(after)


@both
def test_a_refusal_leaves_the_complete_requests_before_it(make: MakeParser) -> None:
    requests, error = _parse(make, [GET + b"BREW /pot HTTP/1.1\r\nHost: d\r\n\r\n" + GET])
    assert len(requests) == 1
    assert error == 501


@both
def test_a_refused_size_names_its_path(make: MakeParser) -> None:
    parser = make(LIMITS)
    parser.feed(b"POST /predict/demo HTTP/1.1\r\nHost: d\r\nContent-Length: 101\r\n\r\n")
    assert parser.error is not None
    assert parser.error.path == "/predict/demo"


@both
def test_an_expectation_is_seen_until_the_body_comes(make: MakeParser) -> None:
    parser = make(LIMITS)
    head = b"POST / HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    parser.feed(head)
    assert parser.awaits_continue
    assert parser.mid_request
    parser.feed(b"ab")
    assert not parser.awaits_continue
    parser.feed(b"cd")
    assert parser.requests.popleft().body == b"abcd"
    assert not parser.mid_request
