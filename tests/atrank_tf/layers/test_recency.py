"""Recency: the gap to the newest behavior before."""

from pathlib import Path

import pytest
import tensorflow as tf

from atrank_tf.layers import Recency
from data_pipeline import ragged
from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import BOUNDS, QUERY_TIMES, TIMES, vectors

LAYERS: Layers = {
    "recency": (
        lambda: Recency(16, BOUNDS, l2=0.1),
        lambda layer: layer(vectors([1, 2, 0]), QUERY_TIMES, TIMES).flat_values,
        [3, 16],
    )
}


@pytest.mark.parametrize("name", ["recency"])
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


def test_recency_is_the_gap_to_the_newest_before() -> None:
    layer = Recency(width=1, time_bounds=[10, 20])
    layer.gaps.table.assign([[1.0], [2.0], [3.0], [4.0]])
    values = tf.constant([80, 100, 90, 100, 7], tf.int64)
    times = ragged.from_row_lengths(values, [4, 0, 1])
    rows = ragged.from_row_lengths(tf.zeros([9, 1]), [5, 2, 2])
    query_times = [[80, 90, 99, 101, 130], [80, 90, 0, 0, 0], [7, 8, 0, 0, 0]]
    output = layer(rows, tf.constant(query_times, tf.int64), times)
    # Nothing before; 10; 9; 1; 30 away. Nothing at all. Of its own instant nothing is before.
    assert output.flat_values[:, 0].numpy().tolist() == [1, 3, 2, 2, 4, 1, 1, 1, 2]
    of_rows = layer(rows, tf.constant([[101], [101], [17]], tf.int64), times)
    assert of_rows.flat_values[:, 0].numpy().tolist() == [2] * 5 + [1] * 2 + [3] * 2
