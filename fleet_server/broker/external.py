"""A broker of the operator's own, by URL: `mqtt://user:password@host:port` or `mqtts://...`.

House rules: nothing is written to it but messages; what it must be configured to do is said in words.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_agent.contract.topics import ANY_USER, Topics
from fleet_server.broker.accounts import UnmanagedAccounts
from fleet_server.broker.brokers import BrokerKind, BrokerSetupError, Endpoint, is_loopback
from fleet_server.broker.client import BrokerAddress

_PORTS = {"mqtt": 1883, "mqtts": 8883}


def parse_broker_url(url: str, ca_pem: str | None = None) -> BrokerAddress:
    """Parse a broker's URL; `ca_pem` replaces the machine's own authorities for `mqtts`.

    Raises:
        BrokerSetupError: no such URL, or an unencrypted one beyond loopback.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise BrokerSetupError(f"the broker's URL has a bad port: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise BrokerSetupError("a broker's URL is mqtt://user:password@host:port or mqtts://user:password@host:port")
    tls = parts.scheme == "mqtts"
    if not tls and not is_loopback(parts.hostname):
        raise BrokerSetupError(f"passwords to {parts.hostname} would travel unencrypted: use mqtts://")
    return BrokerAddress(
        parts.hostname,
        port or _PORTS[parts.scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        tls,
        ca_pem if tls else None,
    )


class ExternalBroker:
    """A broker that runs elsewhere."""

    def __init__(self, url: str, topics: Topics, ca_file: Path | None = None, *, certificates: bool = False) -> None:
        self._address = parse_broker_url(url, ca_file.read_text() if ca_file is not None else None)
        write, read = topics.writable(ANY_USER), (*topics.readable(ANY_USER), *topics.shared("profile"))
        who = (
            "devices come by certificates of this fleet's CA (keys/ca.pem; those revoked: keys/crl.pem), whose CN is "
            "the user name"
            if certificates
            else "for each device a user named by its id, with the password that the enrolment returns"
        )
        advice = (
            f"this broker is yours to configure: {who}, and client id = user name; write on {' and '.join(write)}; "
            f"read on {', '.join(read)} (with the device's own profile); for this server all of {topics.everything()}. "
            "It takes MQTT 5, retained messages, and packets of 512 KiB"
        )
        self._accounts = UnmanagedAccounts(advice, certificates=certificates)

    @property
    def kind(self) -> BrokerKind:
        """A broker of the operator's own."""
        return BrokerKind.EXTERNAL

    @property
    def version(self) -> str:
        """Not known."""
        return ""

    @property
    def notice(self) -> str:
        """What the operator should know."""
        how = "TLS" if self._address.tls else "loopback without TLS"
        return (
            f"External broker {self._address.host}:{self._address.port} ({how}); its accounts are yours to configure."
        )

    @property
    def alive(self) -> bool:
        """Assumed; the session says whether it answers."""
        return True

    @property
    def accounts(self) -> UnmanagedAccounts:
        """Nothing is administered there."""
        return self._accounts

    def start(self) -> None:
        """Nothing is started."""

    def stop(self) -> None:
        """Nothing is stopped."""

    def address(self) -> BrokerAddress:
        """Where the server itself connects."""
        return self._address

    def endpoint(self) -> Endpoint:
        """Where devices connect."""
        return Endpoint(self._address.host, self._address.port, self._address.ca_pem)
