"""What can go wrong in a build, each with the exit code it ends with.

House rules: a message says what happened and why; `hint` is one thing to do about it. Foreign exceptions are
translated where they arise; whatever is not a `TrainerError` is a bug and crashes.
"""

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 78
# The shell's own: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130


class TrainerError(Exception):
    """A build cannot go on; the message says what and why, `hint` what to do."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(TrainerError):
    """The command names something that is not there, or that may not be overwritten."""

    exit_code = EXIT_USAGE


class ConfigurationError(TrainerError):
    """A recipe or its data are not what they must be."""

    exit_code = EXIT_CONFIGURATION


class RejectedError(TrainerError):
    """A model is refused: its form is unknown, unsafe or outside of what can be built. The same bytes never pass."""


class GateError(TrainerError):
    """A fitted model misses a threshold of its recipe."""


class ChildError(TrainerError):
    """A child process that ran a model crashed, hung or refused it."""


class RuntimeUnavailableError(TrainerError):
    """A release of a runtime cannot be had here, so nothing is proven on it."""


class UnbuildableError(Exception):
    """One variant cannot be made; the message is the reason that stands in the version's record."""


class CannotLower(UnbuildableError):  # noqa: N818 - it is a verdict on a model, not a fault
    """A model has no exact lowering; `reason` says why, `what_to_do` what helps."""

    def __init__(self, reason: str, what_to_do: str = "") -> None:
        super().__init__(f"{reason}: {what_to_do}" if what_to_do else reason)
        self.reason = reason
        self.what_to_do = what_to_do
