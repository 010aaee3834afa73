"""Gaps as a bias of attention: a number for each latent space and bucket of a gap."""

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
    """Tells attention how long before each query each behavior was, and hides the rest.

    In space k, for a query at time t and a behavior at time s:

        bias_k(t, s) = time[k, bucket(t - s)] + order[k, bucket'(n(t) - n(s))]  where s < t
                       -1e9                                                     elsewhere

    with n(t) the number of the row's behaviors before t. So nothing attends to its own
    instant or to what came later, and one encoding of a timeline serves every query time in it.
    What is added to a timeline at its end changes no gap, nor does what is cut from its
    beginning.

    Time alone tells poorly what came right before what: the steps of one session may be
    seconds apart and those of another hours.

    Args:
        num_spaces: Number of latent spaces.
        time_bounds: What divides the gaps of time into buckets, for `time_bucket`: ascending,
            from 2 on.

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
        # Sums of gradients over all pairs want float32.
        return self.add_weight(name=name, shape=shape, initializer="zeros", autocast=False)

    def call(self, query_times: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
        """Looks the biases up.

        Args:
            query_times: int64 [batch, queries].
            times: Of the behaviors, int64 [batch, tokens]; of padding the largest int64.

        Returns:
            float [spaces, batch, queries, tokens].
        """
        gaps = query_times[:, :, tf.newaxis] - times[:, tf.newaxis, :]
        # What is visible is 1 away or more: bucket 0 is the rest.
        buckets = time_bucket(gaps, self._bounds)
        order = _num_before(query_times, times)[:, :, tf.newaxis]
        order -= _num_before(times, times)[:, tf.newaxis, :]
        order = tf.clip_by_value(order, 0, _ORDER_BOUNDS[-1])
        places = buckets * (_ORDER_BOUNDS[-1] + 1) + order
        biases = _look_up(self._table(), places, tf.as_dtype(self.compute_dtype))
        return tf.ensure_shape(biases, [self.num_spaces, None, None, None])

    def _table(self) -> tf.Tensor:
        """The bias of each gap in time and in order: float32 [spaces, places].

        A place is a bucket of time, the invisible one first, and within it a gap in order from 0
        to the last bound, which stands for all beyond.
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
    """How many of `times` [batch, tokens] come before each query: int32 [batch, queries]."""
    return tf.searchsorted(tf.sort(times, axis=1), query_times, side="left")


def _look_up(table: tf.Tensor, places: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Looks columns of a table up, and counts their gradients once.

    The numbers of all spaces are copied together. Their gradient is a sum by place, of each row
    of the batch by itself, without TensorFlow's own one-by-one scatter; it has no gradient of
    its own.

    Args:
        table: float32 [spaces, n].
        places: int32 [batch, queries, tokens], each in [0, n).
        dtype: What to return.

    Returns:
        [spaces, batch, queries, tokens].
    """

    @tf.custom_gradient
    def looked_up(table: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            flat = tf.reshape(places, [tf.shape(places)[0], -1])
            by_row = [  # Of each space, [batch, n].
                tf.raw_ops.DenseBincount(
                    input=flat,
                    size=table.shape[1],
                    weights=tf.reshape(space, tf.shape(flat)),
                    binary_output=False,
                )
                for space in tf.unstack(tf.cast(upstream, tf.float32))
            ]
            return tf.reduce_sum(by_row, axis=1)

        found = tf.gather(tf.transpose(tf.cast(table, dtype)), places)
        return tf.transpose(found, [3, 0, 1, 2]), gradient

    return looked_up(table)
