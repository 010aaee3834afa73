"""Small inputs for layers, with empty batch rows among them."""

from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.layers import BehaviorEncoder, EmbeddingTable, ObjectEncoder
from atrank_tf.layers.time_buckets import day_bounds
from data_pipeline import ragged
from data_pipeline.schema import Feature, Group

GROUP = Group(
    "item",
    actions=("buy", "view"),
    features=(
        Feature("color", vocabulary="color", num_values=6),
        Feature("tag", vocabulary="tag", multivalued=True, num_values=4),
    ),
    num_objects=6,
    num_oov=1,
)
OBJECTS = {
    "embedding_indices": np.array([0, 3, 2, 1, 0, 0]),
    "color/indices": np.array([0, 1, 1, 2, 2, 0]),
    "tag/indices": np.array([1, 2, 2, 3]),
    "tag/splits": np.array([0, 0, 2, 3, 3, 4, 4]),
}
BOUNDS = day_bounds(13, 86_400)
ROWS = ragged.from_row_lengths(tf.constant([1, 5, 0, 2, 2], tf.int64), [3, 0, 2])


def object_encoder() -> ObjectEncoder:
    tables = {
        "item": EmbeddingTable(4, 8, name="item_table"),
        "color": EmbeddingTable(3, 4, name="color_table"),
        "tag": EmbeddingTable(4, 4, name="tag_table"),
    }
    encoder = ObjectEncoder(GROUP, tables, width=8, name="objects")
    encoder.set_objects(OBJECTS)
    return encoder


def behavior_encoder() -> BehaviorEncoder:
    return BehaviorEncoder(object_encoder(), BOUNDS, behavior_width=8, width=16)


def vectors(lengths: list[int], width: int = 16) -> tf.RaggedTensor:
    values = np.random.default_rng(0).normal(size=[sum(lengths), width]).astype(np.float32)
    return ragged.from_row_lengths(values, lengths)


def attend(layer: Any, *times: Any) -> Any:
    return layer(vectors([1, 2, 0]), layer.keys_values(vectors([3, 0, 2])), *times)


QUERY_TIMES = tf.constant([[10**9, 0], [5, 5], [0, 0]], tf.int64)
TIMES = ragged.from_row_lengths(tf.constant([10**9, 3, 10**8, 1, 2], tf.int64), [3, 0, 2])
HISTORY = {"object": ROWS, "action": ROWS.with_flat_values(tf.constant([0, 1, 2, 1, 1], tf.int64))}
HISTORY["time"] = ROWS.with_flat_values(tf.constant([9, 10**9, 0, 5, 10**9 + 5], tf.int64))
QUERY_TIME = tf.constant([10**9 + 10] * 3, tf.int64)
