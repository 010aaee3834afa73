"""A line on stderr, every few seconds, for work that takes more than that."""

import math
import sys
import time


class Progress:
    """Says how far some work is, how fast it goes, and how long it will take.

    Args:
        what: What is being done.
        unit: What is counted, in the plural.
        total: How many there are, about; None where that is not known.
        seconds: Time between two lines.

    Example:

    >>> import contextlib
    >>> progress = Progress("reading", "rows", total=300, seconds=0.0)
    >>> progress.advance(100)  # From here on the speed is measured.
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     progress.advance(100)
    reading: 200 rows, .../s, about 0:00 left
    """

    def __init__(
        self, what: str, unit: str, total: int | None = None, seconds: float = 5.0
    ) -> None:
        self._what = what
        self._unit = unit
        self._total = total
        self._seconds = seconds
        self._done = 0
        self._uncounted = 0
        self._start = self._shown = time.monotonic()

    def advance(self, count: int, note: str = "", at_most: float = math.inf) -> None:
        """Counts more as done, and prints a line when it is time to.

        Args:
            count: How many more are done.
            note: What the line says beside that.
            at_most: Seconds that are left at most, however many are left to do.
        """
        now = time.monotonic()
        if not self._done:  # What comes first takes longer: graphs are traced, files opened.
            self._start, self._uncounted = now, count
        self._done += count
        if now - self._shown < self._seconds or now == self._start:
            return
        self._shown = now
        rate = (self._done - self._uncounted) / (now - self._start)
        line = f"{self._what}: {self._done:,} {self._unit}, {rate:,.{0 if rate >= 10 else 1}f}/s"
        if self._total and self._total > self._done:
            left = round(min((self._total - self._done) / rate, max(at_most, 0.0)))
            line += f", about {left // 60}:{left % 60:02d} left"
        if note:
            line += f", {note}"
        print(line, file=sys.stderr, flush=True)
