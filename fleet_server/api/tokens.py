"""Enrolment tokens, enrolment itself, and the renewal of devices' certificates."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from edge_agent.contract import codec
from edge_agent.contract.enrolment import EnrolRequest
from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import Reader, limited, needs
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.services.enrolment import TokenRequest
from fleet_server.services.throttles import Kind

router = APIRouter(prefix="/api/v1", tags=["enrolment"])


class NewToken(Body):
    """What a token is to allow."""

    label: Annotated[str, Field(max_length=200)] = ""
    uses: Annotated[int, Field(ge=1, le=10_000)] = 1
    ttl_s: Annotated[int, Field(ge=1, le=365 * 24 * 3600)] = 3600
    profile: str | None = None
    labels: Annotated[dict[str, str], Field(default_factory=dict)]


class TokenMade(Answer):
    """A new token; its text is shown this once."""

    id: str
    token: str
    expires: Time


class TokenShown(Answer):
    """A token without its text."""

    id: str
    label: str
    uses: int
    used: int
    profile: str | None
    labels: dict[str, str]
    created: Time
    expires: Time


class Board(Answer):
    """What a board says of itself."""

    arch: str
    cores: int
    memory_mb: float
    memory_free_mb: float
    disk_free_mb: float
    runtimes: dict[str, str]
    python: str
    agent: str
    profile: str
    simulated: bool = False


class NewDevice(Answer):
    """A board asks to be let in."""

    token: Annotated[str, Field(max_length=500)]
    device: str
    public_key: str
    capabilities: Board
    csr: Annotated[str | None, Field(max_length=8192)] = None


class Enrolled(Answer):
    """What a board needs from now on."""

    device: str
    image_root: str
    director_root: str
    topic_root: str
    broker_host: str
    broker_port: int
    broker_password: str | None = None
    broker_ca: str | None = None
    certificate: str | None = None
    pending: bool = False


class SignatureOf(Answer):
    """One signature of an envelope."""

    keyid: Annotated[str, Field(max_length=64)]
    sig: Annotated[str, Field(max_length=200)]


class SignedRequest(Answer):
    """A DSSE envelope; its payload is a request for a certificate, signed by the device's own key."""

    payloadType: Annotated[str, Field(max_length=100)]  # noqa: N815 - the specification's name
    payload: Annotated[str, Field(max_length=16384)]
    signatures: Annotated[list[SignatureOf], Field(max_length=4)]


class NextChallenge(Answer):
    """What a device's next request for a certificate has to hold."""

    nonce: str


class Renewed(Answer):
    """A device's next certificate, or that it waits for an operator's approval."""

    certificate: str | None = None
    pending: bool = False


@router.post("/enrol", response_model_exclude_none=True, dependencies=[limited(Kind.ENROL)])
def enrol(body: NewDevice, context: Context) -> Enrolled:
    """Let a device in by a token."""
    request = codec.from_plain(EnrolRequest, body.model_dump())
    return Enrolled.model_validate(context.enroller.enrol(request))


@router.get("/renew", dependencies=[limited(Kind.ENROL)])
def challenge(context: Context) -> NextChallenge:
    """Return a challenge for `POST /renew`."""
    return NextChallenge.model_validate(context.renewals.challenge())


@router.post("/renew", response_model_exclude_none=True, dependencies=[limited(Kind.ENROL)])
def renew(body: SignedRequest, context: Context) -> Renewed:
    """Return the next certificate of the device whose key signed this request."""
    return Renewed.model_validate(context.renewals.renew(body.model_dump_json().encode()))


@router.get("/tokens")
def list_tokens(context: Context, paging: Paging, _asker: Reader) -> ListOf[TokenShown]:
    """List tokens, newest first."""
    page = context.enroller.list_tokens(paging)
    return ListOf(items=[TokenShown.model_validate(item) for item in page.items], next=page.next)


@router.post("/tokens", status_code=201)
def make_token(body: NewToken, context: Context, asker: Annotated[Principal, needs(Permission.TOKENS)]) -> TokenMade:
    """Make a token."""
    token, text = context.enroller.make_token(
        TokenRequest(body.label, body.uses, body.ttl_s, body.profile, body.labels), asker.name
    )
    return TokenMade.model_validate({"id": token.id, "token": text, "expires": token.expires})


@router.delete("/tokens/{token}", status_code=204)
def revoke_token(token: str, context: Context, asker: Annotated[Principal, needs(Permission.TOKENS)]) -> None:
    """Revoke a token; devices that it let in stay."""
    context.enroller.revoke_token(token, asker.name)
