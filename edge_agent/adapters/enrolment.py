"""Enrolment and renewal over HTTP. Imported only by what enrols and renews.

House rules: nothing is believed that the token's pin does not vouch for: the SHA-256 of the fleet's authority. Its
certificate is fetched unverified, must have that hash, and from then on is the only one trusted: by TLS beyond
loopback, and by the broker's everywhere. Plain HTTP to another host is refused.
"""

import hashlib
import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from edge_agent.contract import codec
from edge_agent.contract.enrolment import Challenge, Enrolment, EnrolRequest, Renewal
from edge_agent.contract.topics import check_digest

A = TypeVar("A", Enrolment, Challenge, Renewal)
_TIMEOUT_S = 20.0
_REFUSALS = (403, 404, 409, 422)
_MAX_ANSWER_BYTES = 256 * 1024


class EnrolmentError(Exception):
    """Enrolment did not happen; the message says why and what helps."""


class RefusedError(EnrolmentError):
    """The server has said no; asking again does not help."""


def find_authority(server_url: str, token: str) -> str:
    """Return the certificate (PEM) of the fleet's authority, fetched from the server and checked against the pin.

    Raises:
        EnrolmentError: unreachable, or not the server that the token names.
    """
    _, pin = split_token(token)
    base = _base(server_url)
    blind = None
    if base.startswith("https:"):
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
    # From the checked bytes, so that nothing that surrounded them in the answer is kept.
    return ssl.DER_cert_to_PEM_cert(der)


def enrol(server_url: str, request: EnrolRequest, fleet_ca: str) -> Enrolment:
    """Enrol at the server and return its answer; `fleet_ca` is what `find_authority` returned.

    `request.token` is the whole token `<secret>.<pin>`; the secret alone is sent.

    Raises:
        EnrolmentError: refused, unreachable, or another server.
    """
    secret, _ = split_token(request.token)
    body = codec.encode(replace(request, token=secret))
    answer = _ask(server_url, fleet_ca, "enrol", body, Enrolment)
    if answer.device != request.device:
        raise EnrolmentError(f"the server enrolled {answer.device!r} instead of {request.device!r}")
    if answer.broker_password is None and answer.certificate is None and not answer.pending:
        raise EnrolmentError("the server's answer is not an enrolment: it holds nothing that lets this device in")
    return answer


def fetch_challenge(server_url: str, fleet_ca: str | None) -> str:
    """Return the server's challenge for a renewal.

    Raises:
        EnrolmentError: unreachable, or another server.
    """
    return _ask(server_url, fleet_ca, "renew", None, Challenge).nonce


def renew(server_url: str, fleet_ca: str | None, envelope: bytes) -> Renewal:
    """Return the server's answer to a signed request for a certificate.

    Raises:
        EnrolmentError: refused, unreachable, or another server.
    """
    return _ask(server_url, fleet_ca, "renew", envelope, Renewal)


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


def _base(server_url: str) -> str:
    base = server_url.rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise EnrolmentError(f"{server_url!r}: plain http is allowed to this machine alone; use the https:// address")
    return base


def _ask(server_url: str, fleet_ca: str | None, route: str, body: bytes | None, kind: type[A]) -> A:
    base, context = _base(server_url), None
    if base.startswith("https:"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=fleet_ca)
        except (ssl.SSLError, TypeError, ValueError) as error:
            raise EnrolmentError(f"the fleet's authority is not known here; enrol again: {error}") from error
    data = _call(f"{base}/api/v1/{route}", context, body)
    try:
        return codec.decode(kind, data)
    except ValueError as error:
        raise EnrolmentError(f"the server's answer to {route!r} is malformed: {error}") from error


def _call(url: str, context: ssl.SSLContext | None, body: bytes | None) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json, application/problem+json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - http(s) alone, checked by `_base`
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as answer:
            data: bytes = answer.read(_MAX_ANSWER_BYTES)
            return data
    except urllib.error.HTTPError as error:
        with error:
            kind = RefusedError if error.code in _REFUSALS else EnrolmentError
            raise kind(f"{url} answered {error.code}: {_problem(error)}") from error
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
