"""Recurrence: what a user's own habits say of a candidate."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers.embedding_table import EmbeddingTable
from data_pipeline.recurrence import look_ups, num_counts
from data_pipeline.schema import SECONDS_PER_DAY, Schema

COUNT_BOUNDS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 40, 60, 100, 200, 400)
STEP_BOUNDS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 40, 60, 100, 200, 400, 1000, 4000)
# Half octaves from a second to 34 years.
GAP_SECONDS = tuple(sorted({round(2 ** (k / 2)) for k in range(61)}))


@keras.saving.register_keras_serializable("atrank_tf")
class Recurrence(keras.layers.Layer):
    """Adds to the scores of candidates what look-ups found of them.

    Each number that a look-up answers with falls into a bucket that has an embedding. Those of a
    look-up are added up; a network of one hidden layer reads the sums of all look-ups and the
    score, and gives a number to add to the score and one to scale it by: of what a user takes again
    and again, its popularity says little. Each bucket also has a number that is added as it is:

        logit = (1 + gate) score + habit + sum of the buckets' numbers

    Args:
        schema: Description of the data.
        target: Name of the target.
        width: Width of an embedding, and of the hidden layer for each look-up.

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> numbers = tf.constant([[2, 60, 900, 0], [0, -1, -1, -1]], tf.int64)  # Touched twice; never.
    >>> Recurrence(schema, "item", width=8)(numbers, tf.zeros([2])).shape
    TensorShape([2])

    Reference:
        Li et al., "A Next Basket Recommendation Reality Check", arXiv 2109.14233: most neural
        models fall behind the frequency of the user's own repeats.
    """

    def __init__(self, schema: Schema, target: str, width: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema
        self.target = target
        self.width = width
        second = schema.units_per_day // SECONDS_PER_DAY
        gaps = (0, *(second * seconds for seconds in GAP_SECONDS))
        bounds: list[tuple[int, ...]] = []
        self._of_look_up: list[int] = []
        for number, look_up in enumerate(look_ups(schema, target)):
            own = [*[COUNT_BOUNDS] * num_counts(schema, look_up), gaps, gaps, STEP_BOUNDS]
            bounds += own
            self._of_look_up += [number] * len(own)
        sizes = [len(of_column) + 1 for of_column in bounds]
        self._offsets = np.cumsum([0, *sizes[:-1]])
        # As long as the longest; no number reaches the bounds that fill the others.
        self._bounds = np.full((len(bounds), max(sizes)), tf.int64.max)
        for row, of_column in zip(self._bounds, bounds, strict=True):
            row[: len(of_column)] = of_column
        self.buckets = EmbeddingTable(sum(sizes), width, name="buckets", dtype=self.dtype_policy)
        self.weights_of_buckets = EmbeddingTable(
            sum(sizes), 1, "zeros", name="weights_of_buckets", dtype=self.dtype_policy
        )
        self._hidden_width = width * (self._of_look_up[-1] + 1)
        self.hidden = keras.layers.Dense(
            self._hidden_width, "relu", name="hidden", dtype=self.dtype_policy
        )
        self.hidden.build((None, self._hidden_width + 1))
        # Zeros: at first scores stay as they are.
        self.outer = keras.layers.Dense(
            2, kernel_initializer="zeros", name="outer", dtype=self.dtype_policy
        )
        self.outer.build((None, self._hidden_width))
        self.built = True

    def call(self, numbers: tf.Tensor, scores: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits of candidates.

        Args:
            numbers: What their look-ups found, int64 [candidates, numbers]: see
                `data_pipeline.recurrence`.
            scores: What the model makes of them otherwise, float [candidates].
            training: Passed on to the table.

        Returns:
            float32 [candidates].
        """
        columns = tf.transpose(tf.minimum(numbers, tf.int64.max - 1))
        found = tf.searchsorted(tf.constant(self._bounds), columns, side="right", out_type=tf.int64)
        buckets = tf.reshape(found + self._offsets[:, np.newaxis], [-1])
        shape = tf.shape(columns)
        vectors = self.buckets(buckets, training=training)
        vectors = tf.reshape(vectors, [*tf.unstack(shape), self.width])
        sums = tf.math.segment_sum(vectors, tf.constant(self._of_look_up))
        weights = self.weights_of_buckets(buckets, training=training)
        direct = tf.reduce_sum(tf.reshape(weights, shape), axis=0)
        embedded = tf.reshape(tf.transpose(sums, [1, 0, 2]), [shape[1], self._hidden_width])
        scores = tf.cast(scores, tf.float32)
        own = tf.cast(scores, self.compute_dtype)[:, tf.newaxis]
        hidden = self.hidden(tf.concat([embedded, own], axis=1))
        habit, gate = tf.unstack(tf.cast(self.outer(hidden), tf.float32), axis=1)
        return (1.0 + gate) * scores + habit + tf.cast(direct, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "schema": self.schema.to_dict(),
            "target": self.target,
            "width": self.width,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Recurrence":
        """Makes the layer from what `get_config` returned."""
        return cls(**{**config, "schema": Schema.from_dict(config["schema"])})
