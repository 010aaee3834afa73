"""Datasets: which draws they repeat, what they read, and what they must not tell."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema, Split
from tests.conftest import make_logs
from tests.data_pipeline.examples import negative_ids, positive_ids, query_examples, window_rows


@pytest.mark.slow
def test_no_feature_tells_of_the_target_or_later(tmp_path: Path, logs: pd.DataFrame) -> None:
    """Whatever happens from some time on, an example of that time has the same features."""
    cut = int(np.quantile(logs["time"], 0.7))
    split = Split("time", cut, cut)
    random = np.random.default_rng(5)
    features = []
    for name in ("as it was", "another future"):
        source = tmp_path / name
        source.mkdir()
        schema = dataclasses.replace(make_logs(source), split=split, user_id_type="int")
        events = logs.copy()
        if name == "another future":
            later = events["time"] >= cut
            is_item = later & (events["group"] == "item")
            events.loc[is_item, "object"] = random.integers(100, 140, is_item.sum())
            events.loc[is_item, "action"] = random.choice(["buy", "view"], is_item.sum())
            events = events.drop_duplicates()
        events.to_parquet(source / "events.parquet")
        prepare(schema, source / "out", [str(source / "events.parquet")], base_dir=source)
        data = TimelineData(source / "out")
        trained = [
            *query_examples(data, "train", seed=1, epoch=0),
            *window_rows(data, seed=1, epoch=0, max_history=10),
        ]
        first = {  # What each user's first query in the test shows of the past.
            m["user"]: m["history"]
            for m in sorted(query_examples(data, "test"), key=lambda m: -m["query_time"])
        }
        tables = {
            name: data.catalog[name]["train_counts"][: data.schema.group(name).num_trained]
            for name in ("item", "query")
        }
        vocabularies = {v.name: v.num_embeddings for v in data.schema.vocabularies}
        features.append((trained, first, tables, vocabularies))
    (trained, first, tables, vocabularies), (trained2, first2, tables2, vocabularies2) = features
    assert trained == trained2
    assert first == first2
    assert vocabularies == vocabularies2
    for name, counts in tables.items():
        np.testing.assert_array_equal(counts, tables2[name])


def as_bytes(dataset: Iterable[Any]) -> list[bytes]:
    return [
        b"".join(t.numpy().tobytes() for t in tf.nest.flatten(batch, expand_composites=True))
        for batch in dataset
    ]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_batches(data: TimelineData) -> None:
    first = as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=2))
    assert as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=2)) == first
    assert as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=4, epoch=2)) != first
    assert as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=3)) != first


def test_the_order_does_not_depend_on_the_seed_of_the_process(data: TimelineData) -> None:
    found = []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        found.append(as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=2)))
    assert found[0] == found[1]


def test_epochs_in_a_row_are_those_that_batches_gives_one_by_one(data: TimelineData) -> None:
    stream = list(data.epochs(2, 4, BatchOptions(max_tokens=400), seed=3))
    assert [int(epoch) for epoch, *_ in stream] == sorted(int(epoch) for epoch, *_ in stream)
    for epoch in (2, 3):
        batches = [tuple(batch) for number, *batch in stream if number == epoch]
        assert as_bytes(batches) == as_bytes(
            data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=epoch)
        )


@pytest.mark.slow
def test_fewer_groups_and_targets(data: TimelineData, data_dir: Path) -> None:
    one2one = TimelineData(data_dir, ["query"], ["query"])
    all2one = TimelineData(data_dir, targets=["query"])
    assert [v.name for v in one2one.schema.vocabularies] == ["query", "category"]
    assert one2one.num_targets("test") == data.manifest.targets["test"]["query"]
    everything = {
        (m["user"], m["query_time"]): m["candidates"] for m in query_examples(data, "test")
    }
    for chosen, groups in ((one2one, {"query"}), (all2one, {"item", "query"})):
        (inputs, _), *_ = chosen.batches("test")
        assert set(inputs["history"]) == groups
        for example in query_examples(
            chosen, "test"
        ):  # What else is read or predicted changes nothing.
            wanted = everything[example["user"], example["query_time"]]["query"]
            assert example["candidates"] == {"query": wanted}


@pytest.mark.parametrize(
    ("groups", "targets", "expected"),
    [
        (["item", "x"], [], "group 'x': expected one of item, query"),
        ([], ["x"], "target 'x': expected one of item, query"),
        (
            ["item"],
            ["query"],
            "target 'query': its group 'query' must be among the groups read: item",
        ),
    ],
)
def test_groups_and_targets_that_there_are_not(
    data_dir: Path, groups: list[str], targets: list[str], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        TimelineData(data_dir, groups, targets)


@pytest.mark.slow
def test_each_iteration_is_a_new_epoch(data: TimelineData) -> None:
    dataset = data.batches("train", BatchOptions(max_tokens=400), seed=3)
    first, second = as_bytes(dataset), as_bytes(dataset)
    assert sorted(first) != sorted(second)
    again = data.batches("train", BatchOptions(max_tokens=400), seed=3)
    assert [as_bytes(again), as_bytes(again)] == [first, second]

    def drawn(epoch: int) -> dict[tuple, list]:
        examples = query_examples(data, "train", seed=3, epoch=epoch)
        return {(m["user"], m["query_time"]): negative_ids(m) for m in examples}

    first_epoch, second_epoch = drawn(0), drawn(1)
    assert set(first_epoch) == set(second_epoch)
    assert sum(first_epoch[key] != second_epoch[key] for key in first_epoch) > len(first_epoch) / 2


@pytest.mark.slow
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 9)),
        min_size=1,
        max_size=100,
        unique=True,
    )
)
@settings(max_examples=3, deadline=None)  # Most of the time is what a dataset's start takes.
def test_any_logs_give_every_target_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("any")
    pd.DataFrame(rows, columns=["user", "object", "time"]).to_csv(path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), path / "out", [str(path / "e.csv")])
    data = TimelineData(path / "out")
    targets = []
    for split in ("train", "validation", "test"):
        for m in query_examples(data, split, max_tokens=8):
            assert all(t < m["query_time"] for _, _, t in m["history"]["item"])
            targets += [(m["user"], o, m["query_time"]) for o in positive_ids(m)]
    assert sorted(targets) == sorted(rows)
