"""Seconds of work, without its pauses."""

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Counts seconds from when it is made, without the pauses.

    Example:

    >>> start, stopwatch = time.monotonic(), Stopwatch()
    >>> with stopwatch.paused():
    ...     time.sleep(0.01)
    >>> stopwatch.seconds() < time.monotonic() - start
    True
    """

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Returns the seconds so far."""
        return time.monotonic() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time of what is done within."""
        pause = time.monotonic()
        yield
        self._start += time.monotonic() - pause
