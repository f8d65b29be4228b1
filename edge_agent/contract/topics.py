"""Every MQTT topic of the fleet, built and parsed in one place; no topic text stands anywhere else.

Identity is in the topic, where the broker's access list binds it to the credentials, never in a payload.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_ROOT = "edgeloop/v1"
# In Mosquitto's access lists: the name of whoever is connected.
ANY_USER = "%u"

_ROOT = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_DEVICE_ID = re.compile(r"[a-z0-9-]{1,64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Up(StrEnum):
    """What a device writes below `up/`."""

    STATUS = "status"
    REPORTED = "reported"
    HEALTH = "health"
    WINDOW = "window"
    EVENT = "event"
    FEEDBACK = "feedback"
    GET = "get"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """A parsed topic of a device: who wrote it, what it is, and for health the model it speaks of."""

    device: str
    kind: Up
    model: str | None = None


def check_device_id(text: str) -> str:
    """Return `text` where it is a device id (`[a-z0-9-]{1,64}`).

    Raises:
        ValueError: it is not.
    """
    return _check(_DEVICE_ID, text, "a device id is 1 to 64 of a-z, 0-9 and '-'")


def check_name(text: str) -> str:
    """Return `text` where it is the name of a model, group or cohort (`[a-z0-9][a-z0-9_.-]{0,63}`).

    Raises:
        ValueError: it is not.
    """
    return _check(_NAME, text, "a name is 1 to 64 of a-z, 0-9, '_', '.' and '-', and begins with a letter or digit")


def check_digest(text: str) -> str:
    """Return `text` where it is a SHA-256 in 64 lower-case hexadecimal digits.

    Raises:
        ValueError: it is not.
    """
    return _check(_DIGEST, text, "a digest is 64 lower-case hexadecimal digits")


def plain_filter(text: str) -> str:
    """Return a filter without the `$share/<group>/` of a shared subscription: what topics have to match."""
    return text.split("/", 2)[2] if text.startswith("$share/") else text


def _check_user(text: str) -> str:
    return text if text == ANY_USER else check_device_id(text)


def _check(pattern: re.Pattern[str], text: str, rule: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r}: {rule}")
    return text


class Topics:
    """Builds and parses topics below a root, by default `edgeloop/v1`."""

    def __init__(self, root: str = DEFAULT_ROOT) -> None:
        self.root = _check(_ROOT, root, "a topic root is levels of letters, digits, '_', '.' and '-', joined by '/'")
        self._up = re.compile(
            re.escape(self.root)
            + r"/d/(?P<device>[a-z0-9-]{1,64})/up/(?P<kind>[a-z]+)(?:/(?P<model>[a-z0-9][a-z0-9_.-]{0,63}))?"
        )

    def up(self, device: str, kind: Up) -> str:
        """Topic on which a device writes status, reported, window, event, feedback or get."""
        if kind is Up.HEALTH:
            raise ValueError("health has a topic for each model: use health()")
        return f"{self.root}/d/{check_device_id(device)}/up/{kind}"

    def health(self, device: str, model: str) -> str:
        """Topic of a device's flat health object for one model."""
        return f"{self.root}/d/{check_device_id(device)}/up/{Up.HEALTH}/{check_name(model)}"

    def desired(self, device: str) -> str:
        """Topic of the signed document that says what a device should run (retained)."""
        return f"{self.root}/d/{check_device_id(device)}/dn/desired"

    def block(self, device: str, digest: str) -> str:
        """Topic on which the server answers a device's request for one digest."""
        return f"{self.root}/d/{check_device_id(device)}/dn/block/{check_digest(digest)}"

    def chunk(self, cohort: str, digest: str) -> str:
        """Topic of one retained chunk, readable by the devices of a cohort."""
        return f"{self.root}/c/{check_name(cohort)}/{check_digest(digest)}"

    def trust(self, repository: str) -> str:
        """Topic of a repository's metadata pack, which all devices read (retained)."""
        return f"{self.root}/trust/{check_name(repository)}"

    def server_status(self) -> str:
        """Topic of the control plane's birth and death (retained)."""
        return f"{self.root}/server/status"

    def ingest(self, share: str | None = None) -> str:
        """Filter for all that devices write; with `share`, an MQTT shared subscription of that group."""
        plain = f"{self.root}/d/+/up/#"
        return plain if share is None else f"$share/{check_name(share)}/{plain}"

    def retained_up(self) -> tuple[str, str]:
        """Filters for the two retained topics of every device, which the controller reads after a restart."""
        return f"{self.root}/d/+/up/{Up.STATUS}", f"{self.root}/d/+/up/{Up.REPORTED}"

    def writable(self, device: str) -> tuple[str, ...]:
        """Filters that a device may write on; `ANY_USER` in its place makes the pattern of an access list."""
        own = f"{self.root}/d/{_check_user(device)}"
        return f"{own}/up/#", f"{own}/rsp/#"

    def readable(self, device: str) -> tuple[str, ...]:
        """Filters of its own that a device may read; `ANY_USER` as for `writable`."""
        return (f"{self.root}/d/{_check_user(device)}/dn/#",)

    def chunks(self, cohort: str) -> str:
        """Filter for the chunks of a cohort."""
        return f"{self.root}/c/{check_name(cohort)}/+"

    def public(self) -> tuple[str, ...]:
        """Filters that every device may read."""
        return f"{self.root}/trust/+", self.server_status()

    def shared(self, cohort: str) -> tuple[str, ...]:
        """Filters that every device of a cohort may read."""
        return self.chunks(cohort), *self.public()

    def dashboards(self) -> tuple[str, ...]:
        """Filters that dashboards may read: what is for them alone, and who is there."""
        devices = f"{self.root}/d/+/up"
        return f"{devices}/{Up.HEALTH}/+", f"{devices}/{Up.STATUS}", self.server_status()

    def everything(self) -> str:
        """Filter for all below the root, which is the server's."""
        return f"{self.root}/#"

    def parse_up(self, topic: str) -> UpTopic:
        """Parse what a device wrote.

        Raises:
            ValueError: the topic is none of a device's own.
        """
        match = self._up.fullmatch(topic)
        if match is None or match["kind"] not in set(Up):
            raise ValueError(f"{topic[:200]!r} is no topic that a device writes below {self.root}")
        kind, model = Up(match["kind"]), match["model"]
        if (kind is Up.HEALTH) != (model is not None):
            raise ValueError(f"{topic[:200]!r}: health names a model, and nothing else does")
        return UpTopic(match["device"], kind, model)

    def parse_digest(self, topic: str) -> str:
        """Return the digest that ends a chunk or block topic.

        Raises:
            ValueError: the topic is neither.
        """
        parts = topic.removeprefix(self.root + "/").split("/")
        if (len(parts), parts[0]) == (3, "c") or (len(parts) == 5 and parts[2:4] == ["dn", "block"]):
            return check_digest(parts[-1])
        raise ValueError(f"{topic[:200]!r} is no chunk or block topic below {self.root}")
