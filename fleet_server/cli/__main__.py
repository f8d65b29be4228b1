"""`python -m fleet_server.cli`: the command `edgeloop` without its entry point."""

from fleet_server.cli.app import main

main()
