"""The summary of prepared data: what was written, left out and is missing."""

import dataclasses

import pytest

from data_pipeline.manifest import Manifest, Shard, Source
from data_pipeline.prepare.summary import format_summary
from data_pipeline.version import __version__

SHARD = Shard("timelines/0.tfrecord", 6, 24, 1_250_000, "")
MANIFEST = Manifest(
    version=__version__,
    fingerprint="",
    users=1_234_567,
    events={"item": 2_000_000, "query": 1},
    rejected={},
    merged=0,
    sources=(Source("logs/e.tsv", 20, 17, "tabs, UTF-8"), Source("o.parquet", 5, 5, "")),
    notes=("ids of user are integers, such as 7, 8",),
    time_range=(1007, 2**40),
    dates=("1970-01-01", "2004-11-03"),
    last_trained=0,
    targets={
        "train": {"item": 1_000_000, "query": 0},
        "validation": {"item": 0, "query": 1},
        "test": {"item": 7, "query": 0},
    },
    repeats={"item": 0.25, "query": 0.0},
    shards=(SHARD, SHARD),
    files={},
)


def test_every_count_has_a_line() -> None:
    assert format_summary(MANIFEST, "data/mine").splitlines() == [
        "wrote data/mine: 1,234,567 users, 2.5 MB of timelines",
        "  logs/e.tsv (tabs, UTF-8): 20 rows, 17 kept, 3 left out",
        "  o.parquet: 5 rows, 5 kept, 0 left out",
        "  item: 2,000,000 events",
        "  query: 1 events",
        "  dates: 1970-01-01 to 2004-11-03",
        "  ids of user are integers, such as 7, 8",
        "  train: 1,000,000 targets of item, 0 targets of query",
        "  validation: 0 targets of item, 1 targets of query",
        "  test: 7 targets of item, 0 targets of query",
        *(
            f"  warning: no {split} targets of {target}; --targets leaves it out of a model"
            for split, target in (("train", "query"), ("validation", "item"), ("test", "query"))
        ),
        "  25.0% of the training targets of item are repeats",
        "  0.0% of the training targets of query are repeats",
    ]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_targets_is_warned_of(split: str) -> None:
    some = {name: {"item": 1, "query": 1} for name in ("train", "validation", "test")}
    targets = {**some, split: {"item": 0, "query": 0}}
    summary = format_summary(dataclasses.replace(MANIFEST, targets=targets), "out")
    assert (
        f"  warning: no targets for {split}; the events' times are 1007 to 1099511627776"
        in summary.splitlines()
    )
    assert summary.count("warning") == 1


def test_rows_that_were_left_out_come_last_by_reason() -> None:
    rejected = {"null id": 1, "duplicate": 54_321}
    summary = format_summary(dataclasses.replace(MANIFEST, rejected=rejected), "out")
    assert summary.splitlines()[-2:] == [
        "  left out: 1 rows: null id (see rejected.jsonl)",
        "  left out: 54,321 rows: duplicate (see rejected.jsonl)",
    ]
