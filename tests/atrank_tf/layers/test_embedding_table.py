"""The table of embeddings: a step costs what it touches."""

from pathlib import Path

import pytest
import tensorflow as tf

from atrank_tf import ATRank
from atrank_tf.layers import EmbeddingTable
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch
from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import ROWS
from tests.atrank_tf.sizes import SMALL

LAYERS: Layers = {
    "table": (lambda: EmbeddingTable(5, 4), lambda layer: layer(ROWS.flat_values % 5), [5, 4])
}


@pytest.mark.parametrize("name", ["table"])
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


def test_l2_is_on_the_vectors_in_use_alone(data: TimelineData) -> None:
    model = ATRank(data.schema, data.catalog, l2=0.5, **SMALL)
    batch = make_batch(
        [
            {
                "query_time": QUERY_TIME,
                "history": {"query": [(2, 1, QUERY_TIME - 9)]},
                "candidates": {"query": [3]},
            }
        ],
        model.schema,
    )
    with tf.GradientTape() as tape:
        model(batch, training=True)
        penalty = tf.add_n(model.losses)
    encoder = model.tokens.behaviors["query"].objects
    table = encoder.tables["query"].table
    gradient = tape.gradient(penalty, table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    used = {int(encoder.embedding_indices.numpy()[index]) for index in (2, 3)}
    assert set(gradient.indices.numpy().tolist()) == used
    model(batch)
    assert model.losses == []


def test_gradients_of_a_table_are_sparse() -> None:
    table = EmbeddingTable(1000, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table(tf.constant([3, 7, 3])))
    gradient = tape.gradient(loss, table.table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.values.shape == [3, 4]
