"""When a device asks for its next certificate."""

# The remaining third is for a board that is switched off, and for a server that cannot be reached.
_DUE = 2 / 3
_SPREAD = 1 / 12


def choose_renewal(starts: float, ends: float, chance: float) -> float:
    """Return when to renew a certificate that is valid from `starts` to `ends`; `chance` is in [0, 1).

    It is two thirds of the lifetime, up to a twelfth of it earlier or later, so that a fleet that was enrolled in one
    morning does not return in one.
    """
    return starts + (ends - starts) * (_DUE + _SPREAD * (2 * chance - 1))
