"""The real supervisor with the fake worker: python -m tests.fakes.agent_main CONFIG."""

import logging
import sys
from pathlib import Path

from edge_agent.supervisor import app
from edge_agent.supervisor.config import load_config

if __name__ == "__main__":
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    app.run(load_config(Path(sys.argv[1])), command=(sys.executable, "-m", "tests.fakes.worker"))
