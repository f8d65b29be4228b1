"""What a command says when it cannot do its work, and the exit code that it leaves."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command of the project."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNHEALTHY = 3
    INCONCLUSIVE = 4
    CONFIGURATION = 78
    INTERRUPTED = 130


class CommandError(Exception):
    """What happened, why, and one command (or step) that helps."""

    def __init__(self, what: str, why: str = "", hint: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.code = code
