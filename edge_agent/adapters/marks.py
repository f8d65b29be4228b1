"""Which models of a worker are at work, in memory that outlives it: written by the worker, read after its end.

House rules: one byte for each model, by its place in the load. No lock: two threads of one model that begin and end in
the same instant may leave a wrong byte until the next request, which costs a bystander one suspicion of several.
"""

import mmap
import os
from contextlib import suppress

PLACES = 256


class Marks:
    """The supervisor's end: makes the memory, and reads it; where there is none to be had (`fd` -1) nobody is marked.

    A worker is started all the same: to serve is more than to know whom to suspect.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("edgeloop-marks", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, PLACES)
        except OSError:
            self.close()
            self.fd = -1

    def read(self) -> tuple[int, ...]:
        """Return the places of the models at work."""
        if self.fd < 0:
            return ()
        return tuple(place for place, mark in enumerate(os.pread(self.fd, PLACES, 0)) if mark)

    def close(self) -> None:
        """Give the memory back."""
        with suppress(OSError):
            os.close(self.fd)


class Marker:
    """The worker's end; without a descriptor it marks memory of its own, which nobody reads."""

    def __init__(self, fd: int = -1) -> None:
        self._memory = mmap.mmap(fd, PLACES)

    def set(self, place: int, at_work: int) -> None:
        """Say how many predictions of the model at `place` are under way; beyond `PLACES` models nothing is said."""
        if place < PLACES:
            self._memory[place] = min(at_work, 255)
