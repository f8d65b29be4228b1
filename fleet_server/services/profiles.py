"""Device profiles and denied releases of runtimes as this distribution ships them: data of `firmware_configs`."""

import tomllib
from collections.abc import Mapping
from importlib import resources

from edge_agent.contract import codec
from edge_agent.contract.artifacts import CHUNK_BYTES
from edge_agent.contract.profile import Profile
from edge_agent.contract.runtimes import DENIALS_NAME, Denial, parse_denials

Profiles = Mapping[str, Profile]


def load_profiles() -> Profiles:
    """Return the shipped profiles by name; none where the data is not installed.

    Raises:
        codec.MalformedError: a profile is malformed, or has a key that is not known.
    """
    folder = resources.files("firmware_configs").joinpath("profiles")
    if not folder.is_dir():
        return {}
    found = {}
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".toml"):
            profile = codec.from_plain(Profile, tomllib.loads(file.read_text()), unknown="refuse", at=file.name)
            found[profile.name] = profile
    return found


def load_denials() -> tuple[Denial, ...]:
    """Return the releases of runtimes on which no variant is offered.

    Raises:
        codec.MalformedError: the list is malformed, or has a key that is not known.
    """
    return parse_denials(resources.files("firmware_configs").joinpath(DENIALS_NAME).read_text(encoding="utf-8"))


def chunk_bytes(profiles: Profiles, profile: str) -> int:
    """Return the size of chunks for a profile's devices."""
    known = profiles.get(profile)
    return CHUNK_BYTES if known is None else min(known.chunk_bytes, CHUNK_BYTES)
