"""Progress: how far, how fast, and how much time is left."""

import pytest

from data_pipeline.core import progress


def test_progress_tells_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query_time = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: query_time[0])
    shown = progress.Progress("reading", "rows", total=1000, seconds=5)
    for seconds, count in ((60, 100), (62, 50), (66, 50), (68, 100)):
        query_time[0] = seconds
        shown.advance(count, note="loss 0.5" if seconds == 68 else "")
    query_time[0] = 74
    shown.advance(150, at_most=3.0)
    query_time[0] = 80
    shown.advance(550)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 150 rows, 25/s, about 0:34 left",
        "reading: 300 rows, 25/s, about 0:28 left, loss 0.5",
        "reading: 450 rows, 25/s, about 0:03 left",
        "reading: 1,000 rows, 45/s",
    ]
