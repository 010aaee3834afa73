"""Relative time as a bias of attention: a number for each latent space and bucket of a gap."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.layers.time_buckets import time_bucket, with_one

# What is not visible gets this bias, or half of what the dtype can hold: far below any score.
_INVISIBLE = -1e9
# Gaps in order: the last behavior, the one before it, the third, from the fourth on ...
_ORDER_BOUNDS = (2, 3, 4, 6, 8, 16, 32)


@keras.saving.register_keras_serializable("atrank_tf")
class RelativeTimeBias(keras.layers.Layer):
    """Biases attention by how long before the query each behavior was, and hides later ones.

    In space k, for a query at time t and a behavior at time s:

        bias_k(t, s) = time[k, bucket(t - s)] + order[k, bucket'(n(t) - n(s))]  where s < t
                       -1e9                                                     elsewhere

    with n(t) the number of the user's behaviors before t. So nothing attends to its own
    instant or to what came later, and one encoding of a timeline serves every query time in it.
    What is added to a timeline at its end changes no gap, nor does what is removed from its
    beginning.

    The gap in order is there because time alone says little of what came right before what:
    the steps of one session may be seconds apart and those of another hours.

    Args:
        num_spaces: Number of latent spaces.
        time_bounds: Bounds of the buckets of the gap in time, for `time_bucket`: ascending,
            from 2 on.

    Example:

    >>> bias = RelativeTimeBias(num_spaces=2, time_bounds=[60, 3600])
    >>> biases = bias(tf.constant([[100]], tf.int64), tf.constant([[10, 95, 100]], tf.int64))
    >>> biases.shape
    TensorShape([2, 1, 1, 3])
    >>> biases[0, 0, 0].numpy().tolist()
    [0.0, 0.0, -1000000000.0]

    Reference:
        Buckets of the gap in time are ATRank's ("Behavior embedding spaces"); adding a number
        for each to the scores, and the gap in order, follow Raffel et al., "Exploring the
        Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 2020,
        section 2.1.
    """

    def __init__(self, num_spaces: int, time_bounds: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_spaces = num_spaces
        self.time_bounds = list(time_bounds)
        self._bounds = with_one(self.time_bounds)
        self.time = self._new_table("time", len(self._bounds))
        self.order = self._new_table("order", len(_ORDER_BOUNDS) + 1)
        self.built = True

    def _new_table(self, name: str, num_buckets: int) -> keras.Variable:
        shape = (self.num_spaces, num_buckets)
        # Sums of gradients over all pairs want float32, whatever the precision.
        return self.add_weight(
            name=name, shape=shape, initializer="zeros", dtype="float32", autocast=False
        )

    def call(self, query_times: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
        """Looks the biases up.

        Args:
            query_times: int64 [batch, queries].
            times: When each behavior was, int64 [batch, behaviors]; the largest int64 for
                padding.

        Returns:
            float [spaces, batch, queries, behaviors].
        """
        gaps = query_times[:, :, tf.newaxis] - times[:, tf.newaxis, :]
        # What is visible is 1 away or more: bucket 0 is the rest.
        buckets = time_bucket(gaps, self._bounds)
        order = _num_before(query_times, times)[:, :, tf.newaxis]
        order -= _num_before(times, times)[:, tf.newaxis, :]
        order = tf.clip_by_value(order, 0, _ORDER_BOUNDS[-1])
        columns = buckets * (_ORDER_BOUNDS[-1] + 1) + order
        biases = _look_up(self._table(), columns, tf.as_dtype(self.compute_dtype))
        return tf.ensure_shape(biases, [self.num_spaces, None, None, None])

    def _table(self) -> tf.Tensor:
        """The bias of each gap in time and in order: float32 [spaces, columns].

        A column is a bucket of time, the invisible one first, and within it a gap in order from
        0 to the last bound, which stands for all beyond.
        """
        invisible = max(_INVISIBLE, float(tf.as_dtype(self.compute_dtype).min) / 2)
        time = tf.concat([tf.fill([self.num_spaces, 1], invisible), self.time.value], axis=1)
        steps = tf.range(_ORDER_BOUNDS[-1] + 1, dtype=tf.int64)
        order = tf.gather(self.order.value, time_bucket(steps, _ORDER_BOUNDS), axis=1)
        table = time[:, :, tf.newaxis] + order[:, tf.newaxis, :]
        return tf.reshape(table, [self.num_spaces, -1])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "time_bounds": self.time_bounds,
        }


def _num_before(query_times: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """How many of `times` [batch, behaviors] are before each query: int32 [batch, queries]."""
    return tf.searchsorted(tf.sort(times, axis=1), query_times, side="left")


def _look_up(table: tf.Tensor, columns: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Looks columns of a table up, with a gradient that is one sum by column.

    The numbers of all spaces are copied together. Their gradient is summed by column in each
    batch row, then over the batch, without TensorFlow's own one-by-one scatter; there is no
    second derivative.

    Args:
        table: float32 [spaces, n].
        columns: int32 [batch, queries, behaviors], each in [0, n).
        dtype: What to return.

    Returns:
        [spaces, batch, queries, behaviors].
    """

    @tf.custom_gradient
    def look_up(table: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            flat = tf.reshape(columns, [tf.shape(columns)[0], -1])
            sums = [  # Of each space, [batch, n].
                tf.raw_ops.DenseBincount(
                    input=flat,
                    size=table.shape[1],
                    weights=tf.reshape(space, tf.shape(flat)),
                    binary_output=False,
                )
                for space in tf.unstack(tf.cast(upstream, tf.float32))
            ]
            return tf.reduce_sum(sums, axis=1)

        biases = tf.gather(tf.transpose(tf.cast(table, dtype)), columns)
        return tf.transpose(biases, [3, 0, 1, 2]), gradient

    return look_up(table)
