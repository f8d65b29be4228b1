"""`edgeloop up`: the server and its broker in the foreground, and what an operator does next."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from fleet_server.cli.context import Context, context_path, load_context, save_context
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import stderr_console

if TYPE_CHECKING:
    from fleet_server.config import ReadyInfo


@Parameter(name="*")
@dataclass(frozen=True)
class DeviceRules:
    """How devices are let in, and for how long."""

    broker_certificates: Annotated[
        bool,
        Parameter(negative="", help="The broker at the URL knows devices by this fleet's certificates, not passwords."),
    ] = False
    approve_devices: Annotated[
        bool, Parameter(negative="", help="An enrolled device waits until `edgeloop device approve` lets it in.")
    ] = False
    certificate_days: Annotated[
        int, Parameter(help="Days of a device's certificate, 30 to 90; it renews it by itself after two thirds.")
    ] = 60


@Parameter(name="*")
@dataclass(frozen=True)
class ReleaseRules:
    """Whose word it takes for a version to be let out."""

    tryout_keys: Annotated[
        bool,
        Parameter(
            negative="",
            help="Make release keys on this server and sign every version by them, beyond loopback too; on loopback it "
            "does so anyway. To try out: in production root and release keys lie elsewhere.",
        ),
    ] = False
    approvals: Annotated[
        bool,
        Parameter(negative="", help="Let no rollout begin before another person than who started it approved it."),
    ] = False


_DEVICE_RULES, _RELEASE_RULES = DeviceRules(), ReleaseRules()


def up(
    *,
    data_dir: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    broker: str = "auto",
    broker_port: int = 0,
    devices: DeviceRules = _DEVICE_RULES,
    build_sandbox: Literal["auto", "required", "limits"] = "auto",
    accept_pickles: Annotated[bool, Parameter(negative="")] = False,
    releases: ReleaseRules = _RELEASE_RULES,
) -> int:
    """Start the server and its broker here, in the foreground; Ctrl-C ends both.

    Parameters
    ----------
    data_dir
        Where the server keeps its state; ~/.local/share/edgeloop, or $EDGELOOP_DATA, where it is left out.
    host
        The address to listen on. Beyond loopback it is TLS by the fleet's own CA, and needs Mosquitto.
    port
        The port to listen on; 0 is any free one.
    name
        A name or address by which devices reach this server, the first one being told to them; may be repeated.
    broker
        auto, mosquitto, iotcore (loopback only, to try out), or the URL of one: mqtt(s)://user:pass@host:port.
    broker_port
        The port of a managed broker; 0 is any free one.
    build_sandbox
        Where bubblewrap does not work: required builds no uploads, limits builds them with limits alone; auto is
        limits on loopback and required beyond it.
    accept_pickles
        Load an uploaded pickle where the request asks for it: it runs whatever code is in it, in bubblewrap alone.
    """
    return _serve(
        data_dir=data_dir,
        host=host,
        port=port,
        names=name,
        broker=broker,
        broker_port=broker_port,
        **asdict(devices),
        build_sandbox=build_sandbox,
        accept_pickles=accept_pickles,
        **asdict(releases),
        key_passphrase=os.environ.get("EDGELOOP_SERVER_KEY_PASSPHRASE"),
    )


def _serve(*, data_dir: Path | None, **settings: Any) -> int:
    from fleet_server.app import serve
    from fleet_server.config import ServerConfig, SetupError, default_data_dir

    try:
        config = ServerConfig(data_dir=data_dir or default_data_dir(), api_key=_held_key(), **settings)
    except ValueError as error:
        raise CommandError("the server cannot start", str(error), "edgeloop up --help", Exit.USAGE) from error
    try:
        return serve(config, _announce)
    except SetupError as error:
        raise CommandError(str(error), "", "edgeloop doctor", Exit.CONFIGURATION) from error


def _held_key() -> str | None:
    """Return the key that this user holds already, so that a restart does not make another."""
    try:
        return load_context(os.environ).api_key or None
    except CommandError:
        return None


def _announce(info: "ReadyInfo") -> None:
    """Write the context for the next commands, and print where everything is and what to do next."""
    from rich.text import Text

    path = context_path(os.environ)
    save_context(path, Context(info.url, info.api_key, info.ca_path))
    console = stderr_console()
    lines = [
        ("web page", info.signin_url),
        ("", "(this link signs one browser in, once; another: edgeloop signin)"),
        ("API", f"{info.url}/api/v1   docs: {info.url}/docs"),
        ("API key", f"{'new, ' if info.new_api_key else ''}in {path}"),
        ("broker", f"{info.broker} at {info.broker_host}:{info.broker_port}"),
        ("data", str(info.data_dir)),
    ]
    if info.broker == "mosquitto":
        secret = info.data_dir / "mosquitto" / "accounts.json"
        port = (info.data_dir / "mosquitto" / "local-port").read_text()
        lines.insert(-1, ("dashboards", f"read-only account _dashboard at 127.0.0.1:{port}"))
        lines.insert(-1, ("", f"(password: jq -r .dashboard_password {secret})"))
    console.print(Text("Edgeloop is up.", style="bold green"))
    for title, text in lines:
        console.print(Text.assemble((f"  {title:<12}", "bold"), text))
    for note in info.notes:
        console.print(Text.assemble(("  note        ", "bold yellow"), note))
    console.print(Text("Next, in another terminal:", style="bold"))
    for command, why in (
        ("edgeloop device token", "a token, and the exact command that enrols a device"),
        (f"edge-agent enroll --server {info.url} --token TOKEN --id DEVICE", "on the device, then: edge-agent run"),
        ("edgeloop model push DIR", "a version that `trainer fit` made"),
        ("edgeloop group create all", "a group of all devices"),
        ("edgeloop rollout start MODEL 1 --group all --watch", "bring it to them"),
    ):
        console.print(Text.assemble(f"  {command}", (f"   # {why}", "bright_black")))
