"""Recency: how long before each behaviour, and each candidate, the last behaviour was."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers.embedding_table import EmbeddingTable
from atrank_tf.time_buckets import time_bucket, with_one


@keras.saving.register_keras_serializable("atrank_tf")
class Recency(keras.layers.Layer):
    """Adds to each token how long before its moment the row's last behaviour was.

        token + recency[bucket(t - s)], s the newest time of the row that is before t

    Where nothing is before t, as at the start of a history that was cut to its newest
    behaviours, the gap has a bucket of its own. So the causal form, whose
    behaviours must not know the gap to `now`, still tells the first step of a session from
    the tenth, and a candidate asked for a minute after the last behaviour from one asked for
    a month after. What is added to a timeline at its end changes no token.

    Args:
        width: Width of the tokens.
        time_bounds: What divides the gaps into buckets, for `time_bucket`: ascending, from 2 on.
        l2: Weight of the L2 penalty on the vectors in use.

    Reference:
        ATRank's "Behavior embedding spaces" add an embedding of the bucketed gap to `now`;
        here the gap is that to the behaviour before.
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
        moments: tf.Tensor,
        times: tf.RaggedTensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Adds the recency of each token.

        Args:
            tokens: Behaviours or candidates, float [batch, (n), width].
            moments: When each is, int64 [batch, longest row], or one moment for a row's, int64
                [batch, 1].
            times: When each behaviour was, int64 [batch, (behaviours)].
            training: Passed on to the table.

        Returns:
            float [batch, (n), width].
        """
        ascending = tf.sort(ragged.pad(times, tf.int64.max), axis=1)
        before = tf.searchsorted(ascending, moments, side="left")
        last = tf.gather(ascending, tf.maximum(before - 1, 0), batch_dims=1)
        # What came before is 1 away or more: bucket 0 is of those with nothing before.
        gaps = tf.where(before > 0, moments - last, tf.zeros_like(moments))
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
