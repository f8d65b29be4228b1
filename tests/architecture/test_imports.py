"""What a base install may import, seen from a fresh interpreter that has nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Third-party modules of the base install, with what they bring; everything else is denied as if not installed.
BASE = ("paho", "nacl", "_cffi_backend", "cffi", "pycparser", "h11", "httptools")

DENY = """
import importlib, importlib.abc, pkgutil, sys

class Deny(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names and root not in ALLOWED:
            raise ModuleNotFoundError(f"{name} is not in the base install", name=name)
        return None

ALLOWED = set(sys.argv[2:])
sys.meta_path.insert(0, Deny())
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


@pytest.mark.parametrize("package", ["edge_agent.contract", "edge_agent.supervisor", "edge_agent.cli"])
def test_it_needs_the_base_install_alone(package: str) -> None:
    """Every module of the package imports where only the base dependencies are."""
    command = [sys.executable, "-c", DENY, package, "edge_agent", *BASE]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr


def test_the_words_need_the_standard_library_alone() -> None:
    """The contract imports nothing that has to be installed."""
    command = [sys.executable, "-c", DENY, "edge_agent.contract", "edge_agent"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr


def test_a_package_outside_of_the_base_install_is_denied() -> None:
    """The hook above bites: numpy is installed here and does not come through it."""
    command = [sys.executable, "-c", DENY, "numpy", "edge_agent", *BASE]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "not in the base install" in found.stderr
