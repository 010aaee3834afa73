"""The stopwatch: seconds of work, none of its pauses."""

import pytest

from atrank_tf.train.stopwatch import Stopwatch


class Clock:
    """A clock that stands still until it is set forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_it_counts_from_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    stopwatch = Stopwatch()
    assert stopwatch.seconds() == 0
    clock.wait(3)
    later = Stopwatch()
    clock.wait(4)
    assert stopwatch.seconds() == 7
    assert later.seconds() == 4


def test_pauses_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    stopwatch = Stopwatch()
    clock.wait(3)
    for pause in (10, 100):
        with stopwatch.paused():
            clock.wait(pause)
        assert stopwatch.seconds() == 3
    clock.wait(2)
    assert stopwatch.seconds() == 5
