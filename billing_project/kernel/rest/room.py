"""Room for bodies in hand: what all threads of a process decode at once stays within its memory.

A body of five MiB can become fifty of objects and, when it is made of nothing but brackets, far
more. Each body is weighed by what it may become before it is decoded; who finds no room waits a
little, then is asked to come again.
"""

import gc
import threading
import time

from billing_project.kernel.errors import BillingError

MIB = 1024 * 1024
TOTAL = 56 * MIB  # A process has 95 MiB of its own, 24 bodies may wait, and 300 is the most.
MAX_PARTS = 500_000  # A full batch has 70,000, and texts in it as many again; a bomb has millions.
HEAVY = 16 * MIB  # From here on it is worth looking for what stayed behind.
_SMALL = 64 * 1024  # Bodies that are not worth counting.
_WAIT_NANOSECONDS = 1_500_000_000


class TooManyParts(BillingError):
    """The body is made of more commas and brackets than any report of use."""

    code = "body_too_large"
    status_code = 413


class Crowded(BillingError):
    """Other large bodies are in hand; none of them ended in time."""

    code = "busy"
    status_code = 503


def weigh(body: bytes) -> int:
    """Estimate the memory that decoding, storing and answering a body takes.

    Raises:
        TooManyParts: more than MAX_PARTS.
    """
    if len(body) <= _SMALL:
        return 0
    parts = body.count(b",") + body.count(b"{") + body.count(b"[")
    if parts > MAX_PARTS:
        raise TooManyParts(f"a body has at most {MAX_PARTS} commas and brackets")
    return 8 * len(body) + 96 * parts


class Room:
    """A number of bytes that threads share."""

    def __init__(self, total: int) -> None:
        self._free = self._total = total
        self._changed = threading.Condition()

    def enter(self, weight: int) -> int:
        """Take room and return how much, for `leave`; what outweighs all of it goes alone.

        Raises:
            Crowded: not enough became free within a second and a half.
        """
        taken = min(weight, self._total)
        if not taken:
            return 0
        deadline = time.monotonic_ns() + _WAIT_NANOSECONDS
        with self._changed:
            while self._free < taken:
                left = deadline - time.monotonic_ns()
                if left <= 0 or not self._changed.wait(left / 10**9):
                    raise Crowded("too many large bodies at once; try again")
            self._free -= taken
        return taken

    def leave(self, taken: int) -> None:
        """Give room back."""
        if taken:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


ROOM = Room(TOTAL)  # Of this process.


def leave_room(taken: int) -> None:
    """Give back what a body took, once nothing refers to it any more."""
    if taken >= HEAVY:
        gc.collect()  # What failed is held by its own traceback.
    ROOM.leave(taken)
