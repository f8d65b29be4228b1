"""Enrolment over HTTP: a one-time token in, the device's identity out. Imported only by `edge-agent enroll`.

House rules: nothing is believed that the token's pin does not vouch for. Beyond loopback the server speaks TLS with a
certificate of the fleet's own authority: its certificate is fetched unverified, must have the pinned SHA-256, and
from then on is the only one trusted. On loopback the pin is the SHA-256 of the server's signing key. Plain HTTP to
another host is refused, since it would carry the broker's password in the clear.
"""

import hashlib
import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from edge_agent.contract import codec
from edge_agent.contract.enrolment import Enrolment, EnrolRequest
from edge_agent.contract.topics import check_digest

_TIMEOUT_S = 20.0
_MAX_ANSWER_BYTES = 256 * 1024


class EnrolmentError(Exception):
    """Enrolment did not happen; the message says why and what helps."""


def enrol(server_url: str, request: EnrolRequest) -> Enrolment:
    """Enrol at the server and return its answer, checked against the token's pin.

    `request.token` is the whole token `<secret>.<pin>`; the secret alone is sent.

    Raises:
        EnrolmentError: refused, unreachable, or not the server that the token names.
    """
    secret, pin = split_token(request.token)
    base = server_url.rstrip("/")
    parts = urlsplit(base)
    if parts.scheme == "https":
        context = _pinned_context(base, pin)
    elif parts.scheme == "http" and is_loopback(parts.hostname or ""):
        context = None
    else:
        raise EnrolmentError(f"{server_url!r}: plain http is allowed to this machine alone; use the https:// address")
    sent = EnrolRequest(secret, request.device, request.public_key, request.capabilities)
    body = _call(f"{base}/api/v1/enrol", context, codec.encode(sent))
    try:
        enrolment = codec.decode(Enrolment, body)
        server_key = bytes.fromhex(check_digest(enrolment.server_key))
    except ValueError as error:
        raise EnrolmentError(f"the server's answer is not an enrolment: {error}") from error
    if context is None and hashlib.sha256(server_key).hexdigest() != pin:
        raise EnrolmentError("the server's key is not the one that the token was made for: check the address")
    if enrolment.device != request.device:
        raise EnrolmentError(f"the server enrolled {enrolment.device!r} instead of {request.device!r}")
    return enrolment


def split_token(token: str) -> tuple[str, str]:
    """Return the secret and the pin of a token.

    Raises:
        EnrolmentError: it is no token.
    """
    secret, _, pin = token.strip().rpartition(".")
    try:
        check_digest(pin)
    except ValueError as error:
        raise EnrolmentError("the token is incomplete: it is <secret>.<64 hex digits>; copy all of it") from error
    if not secret:
        raise EnrolmentError("the token has no secret: it is <secret>.<64 hex digits>; copy all of it")
    return secret, pin


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pinned_context(base: str, pin: str) -> ssl.SSLContext:
    """Fetch the fleet's authority unverified, and trust it alone where its DER has the pinned SHA-256."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    pem = _call(f"{base}/ca.pem", blind, None).decode("ascii", "replace")
    try:
        der = ssl.PEM_cert_to_DER_cert(pem.strip())
    except ValueError as error:
        raise EnrolmentError(f"{base}/ca.pem is no certificate: {error}") from error
    if hashlib.sha256(der).hexdigest() != pin:
        raise EnrolmentError("the server's certificate authority is not the one that the token was made for")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=der)
    return context


def _call(url: str, context: ssl.SSLContext | None, body: bytes | None) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json, application/problem+json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - http(s) alone, checked by `enrol`
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as answer:
            data: bytes = answer.read(_MAX_ANSWER_BYTES)
            return data
    except urllib.error.HTTPError as error:
        with error:
            raise EnrolmentError(f"{url} answered {error.code}: {_problem(error)}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise EnrolmentError(
            f"{url} cannot be reached: {reason}; check the address and that the server runs"
        ) from error


def _problem(error: urllib.error.HTTPError) -> str:
    """Return what a problem document (RFC 9457) says, or the status line's phrase."""
    try:
        problem = json.loads(error.read(_MAX_ANSWER_BYTES))
        return str(problem.get("detail") or problem.get("title") or error.reason)
    except (ValueError, AttributeError, OSError):
        return str(error.reason)
