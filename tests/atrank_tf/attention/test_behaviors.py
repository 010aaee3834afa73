"""The table of a batch's behaviors: the order of the model's tokens, and names for indices."""

import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf.attention.behaviors import behavior_table
from atrank_tf.layers import TokenEncoder
from data_pipeline.dataset import TimelineData
from data_pipeline.schema import Schema
from tests.atrank_tf.batches import make_batch

EXAMPLES = [
    {"query_time": 9, "history": {"query": [(2, 1, 7)], "item": [(3, 2, 5), (4, 0, 1)]}},
    {"query_time": 9, "history": {}},
    {"query_time": 9, "history": {"query": [(1, 0, 6)], "item": [(5, 1, 2)]}},
]
LINES = [
    (0, "item", "view", 3, 5),
    (0, "item", "unknown", 4, 1),
    (0, "query", "query", 2, 7),  # Without actions of its own: that of its group.
    (2, "item", "buy", 5, 2),
    (2, "query", "unknown", 1, 6),
]
COLUMNS = ["batch_row", "group", "action", "object", "time"]


def batch(schema: Schema) -> dict[str, dict[str, tf.RaggedTensor]]:
    return make_batch([{**e, "candidates": {}} for e in EXAMPLES], schema)["history"]


def test_each_batch_row_has_its_behaviors_group_after_group(data: TimelineData) -> None:
    table = behavior_table(data.schema, batch(data.schema))
    assert table.columns.tolist() == COLUMNS
    assert list(table.itertuples(index=False, name=None)) == LINES
    assert table.index.tolist() == [*range(5)]


def test_the_order_is_that_of_the_tokens(data: TimelineData) -> None:
    history = batch(data.schema)
    tokens = TokenEncoder(data.schema, width=8, embedding_width=8, feature_width=4)
    times = tokens.times(history, tf.constant(3, tf.int64))
    table = behavior_table(data.schema, history)
    assert table["time"].tolist() == times.flat_values.numpy().tolist()
    assert table["batch_row"].tolist() == times.value_rowids().numpy().tolist()


def test_a_group_may_be_absent_and_come_in_any_order(data: TimelineData) -> None:
    history = batch(data.schema)
    swapped = dict(reversed(history.items()))
    pd.testing.assert_frame_equal(
        behavior_table(data.schema, swapped), behavior_table(data.schema, history)
    )
    table = behavior_table(data.schema, {"query": history["query"]})
    lines = [line for line in LINES if line[1] == "query"]
    assert list(table.itertuples(index=False, name=None)) == lines


@pytest.mark.parametrize("groups", ["item", ""])
def test_no_behaviors_are_a_table_without_lines(data: TimelineData, groups: str) -> None:
    examples = [{"query_time": 9, "history": {}, "candidates": {}}]
    history = make_batch(examples, data.schema)["history"]
    table = behavior_table(data.schema, {name: history[name] for name in groups.split()})
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 0
    assert table["time"].dtype == "int64"
