"""Leaves out of an import what this process never uses of it.

hashlib loads OpenSSL for hashes that Python has itself: 3 MB of a worker, which has no other use for it.
paho-mqtt imports `urllib.request` to look up SOCKS proxies, which it does only where PySocks is installed. It brings
`http.client` and `email` along: 1 MB of a supervisor that may take 35.
python-tuf imports urllib3 for a fetcher over HTTP: a third of the time that a verifier takes, which reads from packs.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

_MODULE = "urllib.request"
_FETCHER = "tuf.ngclient.urllib3_fetcher"


@contextmanager
def without_openssl_hashes() -> Iterator[None]:
    """Import within: hashlib takes Python's own SHA-256, unless it is loaded already."""
    if "hashlib" in sys.modules:
        yield
        return
    sys.modules["_hashlib"] = None  # type: ignore[assignment]  # the import system's own word for "not to be had"
    try:
        yield
    finally:
        del sys.modules["_hashlib"]


@contextmanager
def without_urllib_request() -> Iterator[None]:
    """Import within: `urllib.request` is an empty module meanwhile, unless it is loaded already or PySocks needs it."""
    if _MODULE in sys.modules or _has_socks():
        yield
        return
    sys.modules[_MODULE] = types.ModuleType(_MODULE)
    try:
        yield
    finally:
        del sys.modules[_MODULE]


@contextmanager
def without_urllib3() -> Iterator[None]:
    """Import within: python-tuf has a fetcher over HTTP in name alone, unless it is loaded already."""
    if _FETCHER in sys.modules:
        yield
        return
    named = types.ModuleType(_FETCHER)
    named.Urllib3Fetcher = type("Urllib3Fetcher", (), {})  # type: ignore[attr-defined]  # a module of our own making
    sys.modules[_FETCHER] = named
    try:
        yield
    finally:
        del sys.modules[_FETCHER]


def _has_socks() -> bool:
    """Whether PySocks is here; asked as paho asks."""
    try:
        importlib.import_module("socks")
    except ImportError:
        return False
    return True
