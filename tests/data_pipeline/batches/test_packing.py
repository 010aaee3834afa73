"""Packing: which rows share a batch, and how large it is."""

import itertools

import pytest
import tensorflow as tf

from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData


@pytest.mark.parametrize("rows", ["queries", "windows"])
def test_batches_of_one_target_group_have_the_same_candidates(
    data: TimelineData, rows: str
) -> None:
    def drawn(single_target: bool) -> tuple[list[set[str]], list[tuple]]:
        options = BatchOptions(rows=rows, single_target=single_target, max_tokens=400)
        kinds, triples = [], []
        for inputs, _ in data.batches("train", options, seed=3, epoch=0):
            kinds.append(
                {t for t, rows in inputs["candidates"].items() if rows.flat_values.shape[0]}
            )
            for target, objects in inputs["candidates"].items():
                times = (
                    inputs["query_time"][target]
                    if options.rows == "windows"
                    else inputs["query_time"][:, tf.newaxis]
                )
                for user, candidates, query_time in zip(
                    inputs["user"], objects, times, strict=True
                ):
                    pairs = tf.stack(
                        [tf.broadcast_to(query_time, candidates.shape), candidates], axis=1
                    ).numpy()
                    triples += [(target, int(user), *pair) for pair in pairs.tolist()]
        return kinds, triples

    kinds, single = drawn(True)
    assert {frozenset(kind) for kind in kinds} == {frozenset({"item"}), frozenset({"query"})}
    assert sum(a != b for a, b in itertools.pairwise(kinds)) > 2  # Mixed.
    if rows == "windows":  # Windows differ, and where one begins nothing is trained.
        assert {(t, u) for t, u, *_ in single} == {(t, u) for t, u, *_ in drawn(False)[1]}
    else:
        assert sorted(single) == sorted(drawn(False)[1])


def test_batches_keep_to_the_budget_and_gather_like_lengths(data: TimelineData) -> None:
    padding = tokens = 0
    for inputs, _ in data.batches("train", BatchOptions(max_tokens=600), seed=1):
        lengths = sum(h["object"].row_lengths() for h in inputs["history"].values())
        counts = sum(c.row_lengths() for c in inputs["candidates"].values())
        total = int(tf.reduce_sum(lengths) + tf.reduce_sum(counts))
        largest = int(tf.reduce_max(lengths + counts))
        assert total < 600 + largest
        padding += int(tf.reduce_max(lengths)) * len(lengths)
        tokens += int(tf.reduce_sum(lengths))
    assert tokens > 0.7 * padding


@pytest.mark.parametrize(
    ("split", "rows"), [("train", "queries"), ("train", "windows"), ("test", "queries")]
)
def test_batches_are_counted_without_being_made(data: TimelineData, split: str, rows: str) -> None:
    options = BatchOptions(max_tokens=300, max_history=20, rows=rows)
    count = sum(1 for _ in data.batches(split, options))
    assert count > 3
    slack = (1 + (rows == "windows")) * (split == "train")
    assert abs(data.count_batches(split, options) - count) <= slack
