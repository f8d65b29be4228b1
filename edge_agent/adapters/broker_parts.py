"""What the MQTT session rests on: TLS with the fleet's own authority alone, and whether paho's thread lives."""

import ssl
from pathlib import Path

from edge_agent.adapters.lean_import import without_urllib_request

with without_urllib_request():
    import paho.mqtt.client as mqtt


def turns(client: mqtt.Client) -> bool:
    """Whether paho's thread lives; it says nothing when it ends of itself, and `is_connected()` stays true."""
    thread = client._thread  # noqa: SLF001 - paho has no public word for it
    return thread is not None and thread.is_alive()


def tls_context(ca_pem: str, certificate: Path | None) -> ssl.SSLContext:
    """Return a context that trusts one authority, and shows the certificate (PEM, with its key) where there is one.

    Raises:
        OSError: the certificate cannot be read, or is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context
