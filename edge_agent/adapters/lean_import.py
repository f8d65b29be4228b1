"""Leaves out of an import what this process never uses of it.

paho-mqtt imports `urllib.request` to look up SOCKS proxies, which it does only where PySocks is installed. It brings
`http.client` and `email` along: 1 MB of a supervisor that may take 35.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

_MODULE = "urllib.request"


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


def _has_socks() -> bool:
    """Whether PySocks is here; asked as paho asks."""
    try:
        importlib.import_module("socks")
    except ImportError:
        return False
    return True
