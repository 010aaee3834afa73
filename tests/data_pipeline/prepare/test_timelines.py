"""Timelines: what pandas says, and where splits begin."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.prepare.pipeline import prepare
from data_pipeline.prepare.timelines import is_repeat
from data_pipeline.schema import Group, Schema, Split
from tests.data_pipeline.prepare.logs import DAY, ONE_GROUP, events_of, records, write


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.integers(-3, 9), st.integers(0, 30)),
        min_size=1,
        unique=True,
    )
)
@settings(max_examples=25, deadline=None)
def test_timelines_are_what_pandas_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("timelines")
    frame = events_of(rows)
    prepare(ONE_GROUP, path / "out", [str(write(frame, path / "e.csv"))])
    ids = pq.read_table(path / "out/objects/item.parquet")["object"].to_pylist()
    timelines = records(path / "out")
    assert set(timelines) == set(frame["user"].astype(str))
    for user, of_user in frame.groupby("user"):
        timeline = timelines[str(user)]
        objects = [ids[index - 1] for index in timeline["item/object"]]
        assert sorted(zip(timeline["item/time"], objects, strict=True)) == sorted(
            zip(of_user["time"], of_user["object"], strict=True)
        )
        keys = list(zip(timeline["item/time"], timeline["item/object"], strict=True))
        assert keys == sorted(keys)
        times = sorted(set(of_user["time"]))
        assert timeline["test_start"] == [times[-1]]
        assert timeline["validation_start"] == [times[-2 if len(times) >= 3 else -1]]


def test_split_by_time_takes_dates_and_numbers(tmp_path: Path) -> None:
    frame = events_of([(1, o, o * DAY) for o in range(1, 10)])
    source = str(write(frame, tmp_path / "e.csv"))
    for name, split in {
        "dates": Split("time", "1970-01-04", "1970-01-07T12:00:00"),
        "numbers": Split("time", 3 * DAY, 6 * DAY + DAY // 2),
    }.items():
        schema = dataclasses.replace(ONE_GROUP, split=split)
        manifest = prepare(schema, tmp_path / name, [source])
        counts = {split: targets["item"] for split, targets in manifest.targets.items()}
        assert counts == {"train": 2, "validation": 4, "test": 3}
        assert Schema.load(tmp_path / name).split.test_start == 6 * DAY + DAY // 2


def test_only_a_share_of_the_users_is_validated(tmp_path: Path) -> None:
    frame = events_of([(u, o, o) for u in range(200) for o in range(4)])
    schema = dataclasses.replace(ONE_GROUP, split=Split(validation_users=0.3))
    manifest = prepare(schema, tmp_path / "out", [str(write(frame, tmp_path / "e.csv"))])
    assert 30 < manifest.targets["validation"]["item"] < 90
    assert manifest.targets["test"]["item"] == 200


def test_labelled_targets_are_kept_apart_from_events(tmp_path: Path) -> None:
    write(events_of([(1, 5, 10), (1, 6, 20)]), tmp_path / "e.csv")
    shown = events_of([(1, 7, 15), (1, 6, 15), (1, 8, 25), (2, 5, 5)]).assign(label=[0, 1, 0, 1])
    write(shown, tmp_path / "shown.csv")
    schema = Schema((Group("item", impressions="shown.csv"),), ("item",))
    manifest = prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    assert manifest.events == {"item": 2}
    timeline = records(tmp_path / "out")["1"]
    ids = pq.read_table(tmp_path / "out/objects/item.parquet")["object"].to_pylist()
    assert [ids[r - 1] for r in timeline["item/object"]] == [5, 6]
    shown_found = zip(
        [ids[r - 1] for r in timeline["item/candidate"]],
        timeline["item/candidate_time"],
        timeline["item/label"],
        strict=True,
    )
    assert set(shown_found) == {(7, 15, 0), (6, 15, 1), (8, 25, 0)}
    assert timeline["test_start"] == [25]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4), st.booleans()),
        max_size=20,
    )
)
@settings(max_examples=30, deadline=None)
def test_a_repeat_is_of_what_was_touched_strictly_before(
    rows: list[tuple[int, int, int, bool]],
) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    events = dict(zip(("user", "object", "time"), columns[:3], strict=True))
    assert is_repeat(events, columns[3] > 0).tolist() == [
        counts and any(row[:2] == (u, o) and row[2] < t and row[3] for row in rows)
        for u, o, t, counts in rows
    ]
