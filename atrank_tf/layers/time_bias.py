"""Time as a bias of attention: a number for each latent space and bucket of the gap."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.time_buckets import time_bucket

# What is not visible gets this bias, or half of what the dtype can hold: far below any score.
_INVISIBLE = -1e9


@keras.saving.register_keras_serializable("atrank_tf")
class TimeBias(keras.layers.Layer):
    """Tells attention how long before each query each behaviour was, and hides the rest.

    In space k, for a query at time t and a behaviour at time s:

        bias_k(t, s) = table[k, bucket(t - s)]  where s < t;  -1e9 elsewhere

    so nothing attends to its own instant or to what came later, and one encoding of a
    timeline serves every moment in it.

    Args:
        num_spaces: Number of latent spaces.
        time_bounds: What divides the gaps into buckets, for `time_bucket`.

    Reference:
        Buckets of the gap are ATRank's ("Behavior embedding spaces"); adding a number for
        each to the scores follows Raffel et al., "Exploring the Limits of Transfer Learning
        with a Unified Text-to-Text Transformer", JMLR 2020, section 2.1.
    """

    def __init__(self, num_spaces: int, time_bounds: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_spaces = num_spaces
        self.time_bounds = list(time_bounds)
        num_buckets = len(self.time_bounds) + 1
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
        hidden_bucket = len(self.time_bounds) + 1
        bucket = tf.where(gaps > 0, time_bucket(gaps, self.time_bounds), hidden_bucket)
        # A product with one-hot columns, and not a look-up: its gradient is a product, too.
        columns = tf.one_hot(bucket, hidden_bucket + 1, axis=0, dtype=self.compute_dtype)
        table = tf.convert_to_tensor(self.table)
        hidden = tf.fill(
            [self.num_spaces, 1], tf.cast(max(_INVISIBLE, float(table.dtype.min) / 2), table.dtype)
        )
        biases = tf.tensordot(tf.concat([table, hidden], axis=1), columns, axes=1)
        return tf.ensure_shape(biases, [self.num_spaces, None, None, None])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "time_bounds": self.time_bounds,
        }
