"""`python -m fleet_server`: the server by itself, configured by its command."""

from fleet_server.cli import main

if __name__ == "__main__":
    main()
