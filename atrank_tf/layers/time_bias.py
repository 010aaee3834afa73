"""Time as a bias of attention: a number for each latent space and bucket of the gap."""

from typing import Any

import keras
import tensorflow as tf

from atrank_tf.time_buckets import time_bucket

# What is not visible gets this bias: far below any score, far above where arithmetic ends.
_INVISIBLE = -1e9


@keras.saving.register_keras_serializable("atrank_tf")
class TimeBias(keras.layers.Layer):
    """Tells attention how long before each query each behaviour was, and hides the rest.

    In space k, for a query at time t and a behaviour at time s:

        bias_k(t, s) = table[k, bucket(t - s)]  where s < t;  -1e9 elsewhere

    so nothing attends to its own instant or to what came later, and one encoding of a
    timeline serves every moment in it. The buckets are those of `time_bucket`.

    Args:
        num_spaces: Number of latent spaces.
        num_buckets: Number of time buckets.
        units_per_day: How many units of time make a day.

    Reference:
        The buckets are ATRank's ("Behavior embedding spaces"); adding them to the scores
        follows Raffel et al., "Exploring the Limits of Transfer Learning with a Unified
        Text-to-Text Transformer", JMLR 2020, section 2.1.
    """

    def __init__(
        self, num_spaces: int, num_buckets: int, units_per_day: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_spaces = num_spaces
        self.num_buckets = num_buckets
        self.units_per_day = units_per_day
        self.table = self.add_weight(
            name="table", shape=(num_spaces, num_buckets), initializer="zeros"
        )
        self.built = True

    def call(self, query_times: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
        """Looks the biases up.

        Args:
            query_times: int64 [batch, queries].
            times: Of the behaviours, int64 [batch, tokens].

        Returns:
            float [spaces, batch, queries, tokens].
        """
        gaps = query_times[:, :, tf.newaxis] - times[:, tf.newaxis, :]
        bucket = time_bucket(gaps, self.num_buckets, self.units_per_day)
        bucket = tf.where(gaps > 0, bucket, self.num_buckets)
        # A product with one-hot columns, and not a look-up: its gradient is a product, too.
        columns = tf.one_hot(bucket, self.num_buckets + 1, axis=0, dtype=self.compute_dtype)
        table = tf.convert_to_tensor(self.table)
        hidden = tf.fill([self.num_spaces, 1], tf.cast(_INVISIBLE, table.dtype))
        biases = tf.tensordot(tf.concat([table, hidden], axis=1), columns, axes=1)
        return tf.ensure_shape(biases, [self.num_spaces, None, None, None])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "num_buckets": self.num_buckets,
            "units_per_day": self.units_per_day,
        }
