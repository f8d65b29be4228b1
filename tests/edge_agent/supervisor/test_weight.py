"""What the supervisor imports: 35 MB of a board's memory depend on it."""

import subprocess
import sys

HEAVY = (
    "numpy",
    "onnxruntime",
    "ai_edge_litert",
    "pydantic",
    "asyncio",
    "email",
    "http.client",
    "importlib.metadata",
    "multiprocessing",
    "cryptography",
    "securesystemslib",
    "tuf",
    "urllib3",
)


def test_the_supervisor_imports_nothing_heavy() -> None:
    script = (
        "import sys; import edge_agent.supervisor.app, edge_agent.cli;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_what_was_left_out_can_still_be_imported() -> None:
    script = "import edge_agent.adapters.broker, urllib.request; print(urllib.request.Request('http://x').host)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "x"


def test_the_command_starts_light() -> None:
    script = "import sys, edge_agent.cli; print('paho' in sys.modules or 'nacl' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "False"
