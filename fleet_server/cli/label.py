"""Labels as they are typed: key=value sets one, key- takes one away."""

from fleet_server.cli.failures import CommandError, Exit


def parse_label(text: str) -> tuple[str, str | None]:
    """Return (key, value) of `key=value`, or (key, None) of `key-`.

    Raises:
        CommandError: it is neither.
    """
    key, equals, value = text.partition("=")
    if equals and key and value:
        return key, value
    if not equals and len(text) > 1 and text.endswith("-"):
        return text[:-1], None
    raise CommandError(
        f"{text!r} is no label", "labels are key=value, or key- to remove", "edgeloop device label --help", Exit.USAGE
    )
