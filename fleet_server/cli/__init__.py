"""The operator's command `edgeloop`: one file a noun, over the REST API.

House rules: a command asks, prints and ends; it decides nothing about the fleet. Results go to stdout, progress and
errors to stderr. Nothing heavy is imported before a command needs it, so `edgeloop --help` stays quick. What the
server answers is printed as it is: a newer server may say more than this command knows.
"""

from fleet_server.cli.app import main

__all__ = ["main"]
