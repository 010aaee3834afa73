"""Rows of windows: each target once, and histories for all of them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from tests.data_pipeline.examples import Event, query_examples, split_starts, window_rows


def check_windows(data: TimelineData, timelines: dict[int, list[Event]], max_history: int) -> None:
    """Each training target comes once, and sees what it should of each group."""
    targets: dict[int, list[Event]] = {user: [] for user in timelines}
    size = max(1, max_history // 2)
    for row in window_rows(data, max_history=max_history, seed=1, max_tokens=600):
        window_targets = [
            (t, group, o) for (t, group), c in row["candidates"].items() for o, y in c if y
        ]
        assert 0 < len(window_targets) <= size
        targets[row["user"]] += window_targets
        for group in data.schema.groups:
            timeline = [e for e in timelines[row["user"]] if e[1] == group.name]
            events = [e for e in row["events"] if e[1] == group.name]
            assert len(set(events)) == len(events)
            assert set(events) <= set(timeline)
            for target in window_targets:
                past = [e[0] for e in timeline if e[0] < target[0]]
                visible = sorted(e[0] for e in events if e[0] < target[0])
                assert visible == past[len(past) - len(visible) :]
                wanted = max_history if target[0] == max(window_targets)[0] else max_history - size
                assert len(visible) >= min(len(past), wanted)
    for user, timeline in timelines.items():
        assert sorted(targets[user]) == [e for e in timeline if e[1] in data.schema.target_names]


@pytest.mark.parametrize("targets", [("item", "query"), ("query",)])
@pytest.mark.parametrize("max_history", [1, 6, 1000])
def test_windows_have_each_target_once_and_histories_for_all(
    data: TimelineData, logs: pd.DataFrame, max_history: int, targets: tuple[str, ...]
) -> None:
    timelines: dict[int, list[Event]] = {}
    for user, of_user in logs.groupby("user"):
        before = of_user[of_user["time"] < split_starts(logs)[user][0]]
        timelines[user] = sorted(
            zip(before["time"], before["group"], before["object"], strict=True)
        )
    data = TimelineData(data.directory)
    data.schema = dataclasses.replace(data.schema, targets=targets)
    check_windows(data, timelines, max_history)


def test_windows_where_many_events_share_a_time(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    rows = {(1 + i % 2, int(random.integers(30)), int(random.integers(9))) for i in range(300)}
    logs = pd.DataFrame(sorted(rows), columns=["user", "object", "time"])
    logs.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "out", [str(tmp_path / "e.csv")])
    timelines = {
        user: sorted((t, "item", o) for u, o, t in rows if u == user and t < 7) for user in (1, 2)
    }
    check_windows(TimelineData(tmp_path / "out"), timelines, 6)


def test_windows_have_the_negatives_of_their_query_times(data: TimelineData) -> None:
    options: dict[str, Any] = {"seed": 3, "epoch": 2, "num_negatives": 2}
    expected = {
        (m["user"], m["query_time"], target): sorted(m["candidates"][target])
        for m in query_examples(data, "train", **options)
        for target in data.schema.target_names
        if m["candidates"][target]
    }
    candidates_by_query = {
        (row["user"], *query): sorted(drawn)
        for row in window_rows(data, max_history=1000, **options)
        for query, drawn in row["candidates"].items()
    }
    assert candidates_by_query == expected


def test_windows_differ_from_epoch_to_epoch(data: TimelineData) -> None:
    first, second = (
        {tuple(sorted(row["candidates"])) for row in window_rows(data, max_history=10, epoch=epoch)}
        for epoch in (0, 1)
    )
    assert first != second
