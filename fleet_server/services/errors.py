"""What services raise beside the store's errors; `fleet_server.api.problems` alone maps them to HTTP."""


class ServiceError(Exception):
    """Something about a request; the message says what happened, why, and what to do."""


class InvalidError(ServiceError):
    """What was asked for makes no sense as it stands."""


class DeniedError(ServiceError):
    """What was shown (a token, a code) does not allow this."""


class TooLargeError(ServiceError):
    """More was sent than this server takes."""


class BrokerError(ServiceError):
    """The broker cannot be reached or set up now: nothing was changed; try again later."""


class UnequippedError(ServiceError):
    """This machine lacks what it takes: it was not tried; the message says what to install."""
