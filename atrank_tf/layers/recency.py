"""Recency: how long before each behavior, and each candidate, the last behavior was."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.layers.embedding_table import EmbeddingTable
from atrank_tf.layers.time_buckets import time_bucket, with_one
from data_pipeline import ragged


@keras.saving.register_keras_serializable("atrank_tf")
class Recency(keras.layers.Layer):
    """Adds to each token how long before its time the user's last behavior was.

        token + recency[bucket(t - s)], s the newest time in the batch row that is before t

    Where nothing is before t, as at the start of a history of only the newest behaviors, the
    gap has a bucket to itself. So the causal form, whose behaviors must not know the gap to
    the query time, still distinguishes the first step of a session from the tenth, and a
    candidate a minute after the last behavior from one a month after. What is added to a
    timeline at its end changes no token.

    Args:
        width: Width of the tokens.
        time_bounds: Bounds of the buckets of the gap, for `time_bucket`: ascending, from 2 on.
        l2: Weight of the L2 penalty on the embeddings in use.

    Example:

    >>> recency = Recency(width=4, time_bounds=[60, 3600])
    >>> times = tf.ragged.constant([[10, 95], [40]], tf.int64)
    >>> candidates = ragged.from_row_lengths(tf.zeros([3, 4]), [2, 1])
    >>> recency(candidates, query_times=tf.constant([[100], [200]], tf.int64), times=times).shape
    TensorShape([2, None, 4])

    Reference:
        ATRank's "Behavior embedding spaces" add an embedding of the bucketed gap to the query
        time; here the gap is that to the behavior before.
    """

    def __init__(
        self, width: int, time_bounds: Sequence[int], l2: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.time_bounds = list(time_bounds)
        self.l2 = l2
        self._bounds = with_one(self.time_bounds)
        self.gaps = EmbeddingTable(
            len(self._bounds) + 1, width, l2=l2, name="gaps", dtype=self.dtype_policy
        )
        self.built = True

    def call(
        self,
        tokens: tf.RaggedTensor,
        query_times: tf.Tensor,
        times: tf.RaggedTensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Adds the recency of each token.

        Args:
            tokens: Behaviors or candidates, float [batch, (n), width].
            query_times: The time of each token, int64 [batch, longest row of tokens], or one
                time for all of a batch row, int64 [batch, 1].
            times: When each behavior was, int64 [batch, (behaviors)].
            training: Passed on to the table.

        Returns:
            float [batch, (n), width].
        """
        ascending = tf.sort(ragged.pad(times, tf.int64.max), axis=1)
        num_before = tf.searchsorted(ascending, query_times, side="left")
        last = tf.gather(ascending, tf.maximum(num_before - 1, 0), batch_dims=1)
        # What came before is 1 away or more: bucket 0 is of those with nothing before.
        gaps = tf.where(num_before > 0, query_times - last, tf.zeros_like(query_times))
        buckets = time_bucket(gaps, self._bounds)
        buckets = tf.broadcast_to(buckets, [tokens.nrows(), ragged.longest(tokens)])
        recency = self.gaps(ragged.unpad(buckets, tokens), training=training)
        return ragged.like(tokens, tokens.flat_values + recency)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "time_bounds": self.time_bounds,
            "l2": self.l2,
        }
