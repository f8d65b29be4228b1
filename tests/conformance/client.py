"""A client of any TUF repository over HTTP, by the device's own store, for conformance suites.

    python -m tests.conformance.client --metadata-dir D init TRUSTED_ROOT
    python -m tests.conformance.client --metadata-dir D --metadata-url U refresh
    python -m tests.conformance.client --metadata-dir D --metadata-url U --target-name N --target-base-url T \
        --target-dir O download

Exit code 0 where it succeeded, 1 where any part did not. Source: CLIENT-CLI.md of theupdateframework/tuf-conformance.
"""

import argparse
import datetime as dt
import shutil
import sys
from pathlib import Path

from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from edge_agent.adapters.trust_client import Repository, open_repository, translated
from edge_agent.adapters.trust_floors import Floors
from edge_agent.adapters.trust_keeper import Keeper
from edge_agent.adapters.trust_state import DistrustedError, TrustState, install_roots
from edge_agent.contract.trust import IMAGE


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    own = options.metadata_dir / ".edgeloop"
    try:
        match options.command:
            case "init":
                own.mkdir(parents=True)
                root = options.root.read_text()
                install_roots(own, root, root)
                shutil.copyfile(options.root, options.metadata_dir / "root.json")
            case "refresh":
                _refresh(own, options, download=False)
            case _:
                _refresh(own, options, download=True)
    except (DistrustedError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _refresh(own: Path, options: argparse.Namespace, *, download: bool) -> None:
    """Verify what the server has, hold it against the floors, keep it, and show it by its plain names."""
    state = TrustState(own)
    with Floors.open(state.floors) as floors, state.workspace(IMAGE) as folder:
        keeper = Keeper(state, floors)
        repository = open_repository(IMAGE, Urllib3Fetcher(), state.pinned(IMAGE), folder, options.metadata_url)
        repository.refresh(dt.datetime.now(dt.UTC))
        keeper.check_versions(repository)
        if download:
            _download(repository, options)
        keeper.check_versions(repository)
        keeper.check_listed(repository)
        keeper.keep(repository)
    for path in (own / "trust" / IMAGE).glob("*.json"):
        shutil.copyfile(path, options.metadata_dir / path.name)


def _download(repository: Repository, options: argparse.Namespace) -> None:
    updater = repository._updater
    updater.target_dir = str(options.target_dir)
    with translated(options.target_name):
        target = updater.get_targetinfo(options.target_name)
        if target is None:
            raise ValueError("there is no such target")
        if updater.find_cached_target(target) is None:
            updater.download_target(target, target_base_url=options.target_base_url)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.client")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name")
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
