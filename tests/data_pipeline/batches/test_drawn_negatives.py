"""What negatives keep clear of, compared with the logs: of what was taken, or ever touched."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from tests.conftest import START
from tests.data_pipeline.batches.eager import EagerData
from tests.data_pipeline.examples import (
    negative_ids,
    positive_ids,
    query_examples,
    split_starts,
    window_rows,
)

# User, target, query time, positives, negatives.
Drawn = tuple[int, str, int, list[int], list[int]]


def data_of(directory: Path, kind: str) -> EagerData:
    """Prepared data whose negatives are of a kind."""
    data = EagerData(directory)
    groups = tuple(dataclasses.replace(group, negatives=kind) for group in data.schema.groups)
    data.schema = dataclasses.replace(data.schema, groups=groups)
    return data


def drawn_of(data: TimelineData, split: str, rows: str, count: int) -> Iterator[Drawn]:
    """What was drawn for each query time and target."""
    options = {"num_negatives": count, "seed": 1, "max_tokens": 100_000}
    if rows == "windows":
        for row in window_rows(data, **options):
            for (time, target), candidates in row["candidates"].items():
                wanted = [o for o, y in candidates if y]
                yield row["user"], target, time, wanted, [o for o, y in candidates if not y]
        return
    for example in query_examples(data, split, **options):
        for target in data.schema.target_names:
            wanted, drawn = positive_ids(example, target), negative_ids(example, target)
            yield example["user"], target, example["query_time"], wanted, drawn


SPLITS = pytest.mark.parametrize(
    ("split", "rows", "count"),
    [("train", "queries", 2), ("train", "windows", 2), ("test", "queries", 7)],
)


@SPLITS
def test_untouched_negatives_are_as_many_as_asked(
    data_dir: Path, logs: pd.DataFrame, split: str, rows: str, count: int
) -> None:
    touched = logs.groupby(["user", "group"])["object"].agg(set)
    starts = split_starts(logs)
    for user, target, _, wanted, drawn in drawn_of(
        data_of(data_dir, "untouched"), split, rows, count
    ):
        if not wanted:
            assert not drawn
            continue
        seen = touched.get((user, target), set())
        if split == "train":  # What a user touches later must not be given away.
            of_user = logs[(logs["user"] == user) & (logs["group"] == target)]
            seen = set(of_user["object"][of_user["time"] < starts[user][0]])
        assert not set(drawn) & seen
        check_number(logs, split, target, seen, wanted, drawn, count)


@pytest.fixture(scope="module")
def baskets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Prepared data of users who take several items at a time, and take them again; its logs."""
    directory = tmp_path_factory.mktemp("baskets")
    random = np.random.default_rng(0)
    rows = [
        (user, int(item), START + 10 * trip)
        for user in range(6)
        for trip in range(8)
        for item in random.choice(12, 1 + trip % 4, replace=False)
    ]
    logs = pd.DataFrame(rows, columns=["user", "object", "time"])
    logs.to_csv(directory / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), directory / "out", [str(directory / "e.csv")])
    return directory / "out", logs.assign(group="item")


@SPLITS
def test_untaken_negatives_may_be_touched_at_other_times(
    baskets: tuple[Path, pd.DataFrame], split: str, rows: str, count: int
) -> None:
    directory, logs = baskets
    touched = logs.groupby("user")["object"].agg(set)
    taken = logs.groupby(["user", "time"])["object"].agg(set)
    num_touched = num_several = 0
    for user, target, time, wanted, drawn in drawn_of(
        data_of(directory, "untaken"), split, rows, count
    ):
        seen = taken[user, time]
        assert seen == set(wanted)
        assert not set(drawn) & seen
        check_number(logs, split, target, seen, wanted, drawn, count)
        num_touched += len(set(drawn) & touched[user])
        num_several += len(seen) > 1
    assert num_touched > 10
    assert num_several > 5


def check_number(
    logs: pd.DataFrame,
    split: str,
    target: str,
    seen: set[int],
    wanted: list[int],
    drawn: list[int],
    count: int,
) -> None:
    if split == "train":
        assert len(drawn) == count * len(wanted)
    else:  # Each object once, all of them where there are not as many as asked.
        known = set(logs[logs["group"] == target]["object"])
        assert len(set(drawn)) == len(drawn) == min(count, len(known - seen))


def test_untaken_negatives_are_drawn_from_every_other_object(
    baskets: tuple[Path, pd.DataFrame],
) -> None:
    directory, logs = baskets
    known = set(logs["object"])
    for _, _, _, wanted, drawn in drawn_of(data_of(directory, "untaken"), "test", "queries", 99):
        assert set(drawn) == known - set(wanted)


def test_users_who_touched_everything_get_no_negatives(tmp_path: Path) -> None:
    rows = [(1, o, START + o) for o in range(5)] + [(1, 0, START + 50)]
    pd.DataFrame(rows, columns=["user", "object", "time"]).to_csv(tmp_path / "e.csv", index=False)
    schema = Schema((Group("item"),), ("item",))
    prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")])
    data = EagerData(tmp_path / "out")
    (example,) = query_examples(data, "test")
    assert example["candidates"]["item"] == [(0, 1.0)]
