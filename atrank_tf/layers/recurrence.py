"""Recurrence: what a user's own habits say of a candidate."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers.embedding_table import EmbeddingTable
from data_pipeline.recurrence import look_ups, num_columns, num_counts
from data_pipeline.schema import SECONDS_PER_DAY, Schema

COUNT_BOUNDS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 40, 60, 100, 200, 400)
STEP_BOUNDS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 40, 60, 100, 200, 400, 1000, 4000)
# Half octaves from a second to 34 years.
GAP_SECONDS = tuple(sorted({round(2 ** (k / 2)) for k in range(61)}))


@keras.saving.register_keras_serializable("atrank_tf")
class Recurrence(keras.layers.Layer):
    """Turns what look-ups found of a candidate into a number to add to its logit.

    Each number that a look-up answers with falls into a bucket that has an embedding. Those of a
    look-up are added up; a network of one hidden layer reads the sums of all look-ups, and each
    bucket also has a number that is added as it is.

    Args:
        schema: Description of the data.
        target: The target group.
        width: Width of an embedding, and of the hidden layer for each look-up.

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> numbers = tf.constant([[2, 60, 900, 0], [0, -1, -1, -1]], tf.int64)  # Touched twice; never.
    >>> Recurrence(schema, "item", width=8)(numbers).shape
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
        self._bounds: list[tuple[int, ...]] = []
        self._of_look_up: list[int] = []
        for number, look_up in enumerate(look_ups(schema, target)):
            own = [*[COUNT_BOUNDS] * num_counts(schema, look_up), gaps, gaps, STEP_BOUNDS]
            self._bounds += own
            self._of_look_up += [number] * len(own)
        sizes = [len(bounds) + 1 for bounds in self._bounds]
        self._offsets = np.cumsum([0, *sizes[:-1]])
        self.buckets = EmbeddingTable(sum(sizes), width, name="buckets", dtype=self.dtype_policy)
        self.weights_of_buckets = EmbeddingTable(
            sum(sizes), 1, "zeros", name="weights_of_buckets", dtype=self.dtype_policy
        )
        num_look_ups = self._of_look_up[-1] + 1
        self.hidden = keras.layers.Dense(
            num_look_ups * width, "relu", name="hidden", dtype=self.dtype_policy
        )
        self.hidden.build((None, num_look_ups * width))
        # Zeros: at first nothing is added to a score.
        self.outer = keras.layers.Dense(
            1, kernel_initializer="zeros", name="outer", dtype=self.dtype_policy
        )
        self.outer.build((None, num_look_ups * width))
        self.built = True

    def call(self, numbers: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Scores candidates.

        Args:
            numbers: What their look-ups found, int64 [candidates, numbers]: see
                `data_pipeline.recurrence`.
            training: Passed on to the table.

        Returns:
            float32 [candidates].
        """
        columns = tf.unstack(numbers, num_columns(self.schema, self.target), axis=1)
        sums: dict[int, tf.Tensor] = {}
        direct = tf.zeros_like(columns[0], self.compute_dtype)
        for column, bounds, offset, look_up in zip(
            columns, self._bounds, self._offsets, self._of_look_up, strict=True
        ):
            bucket = tf.searchsorted(tf.constant(bounds, tf.int64), column, side="right") + offset
            vectors = self.buckets(bucket, training=training)
            sums[look_up] = sums[look_up] + vectors if look_up in sums else vectors
            direct += self.weights_of_buckets(bucket, training=training)[:, 0]
        hidden = self.hidden(tf.concat(list(sums.values()), axis=1))
        logit = self.outer(hidden)[:, 0] + direct
        return tf.cast(logit, tf.float32)

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
