"""Gaps as a bias of attention: a number for each latent space and bucket of a gap."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.time_buckets import time_bucket

# What is not visible gets this bias, or half of what the dtype can hold: far below any score.
_INVISIBLE = -1e9
# Gaps in order: the last behaviour, the one before it, the third, from the fourth on ...
_ORDER_BOUNDS = (2, 3, 4, 6, 8, 16, 32)


@keras.saving.register_keras_serializable("atrank_tf")
class GapBias(keras.layers.Layer):
    """Tells attention how long before each query each behaviour was, and hides the rest.

    In space k, for a query at time t and a behaviour at time s:

        bias_k(t, s) = time[k, bucket(t - s)] + order[k, bucket'(n(t) - n(s))]  where s < t
                       -1e9                                                     elsewhere

    with n(t) the number of the row's behaviours before t. So nothing attends to its own
    instant or to what came later, and one encoding of a timeline serves every moment in it.
    What is added to a timeline at its end changes no gap, nor does what is cut from its
    beginning.

    Time alone tells poorly what came right before what: the steps of one session may be
    seconds apart and those of another hours.

    Args:
        num_spaces: Number of latent spaces.
        time_bounds: What divides the gaps of time into buckets, for `time_bucket`.

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
        self.time = self._new_table("time", len(self.time_bounds) + 1)
        self.order = self._new_table("order", len(_ORDER_BOUNDS) + 1)
        self.built = True

    def _new_table(self, name: str, num_buckets: int) -> keras.Variable:
        shape = (self.num_spaces, num_buckets)
        return self.add_weight(name=name, shape=shape, initializer="zeros")

    def call(self, query_times: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
        """Looks the biases up.

        Args:
            query_times: int64 [batch, queries].
            times: Of the behaviours, int64 [batch, tokens]; of padding the largest int64.

        Returns:
            float [spaces, batch, queries, tokens].
        """
        gaps = query_times[:, :, tf.newaxis] - times[:, tf.newaxis, :]
        # Nothing is nearer than 1: bucket 0 is what is not visible.
        buckets = time_bucket(gaps, [1, *self.time_bounds])
        order = _num_before(query_times, times)[:, :, tf.newaxis]
        order -= _num_before(times, times)[:, tf.newaxis, :]
        order = tf.clip_by_value(order, 0, _ORDER_BOUNDS[-1])
        table = self._table()
        places = buckets * table.shape[2] + order
        biases = _look_up(tf.reshape(table, [self.num_spaces, -1]), places)
        return tf.ensure_shape(biases, [self.num_spaces, None, None, None])

    def _table(self) -> tf.Tensor:
        """The bias of each gap in time and in order, float [spaces, 1 + buckets, 1 + last bound].

        Gaps in time are numbered by their buckets, those in order are as they are: what lies
        beyond the last bound has its bias.
        """
        time, order = tf.convert_to_tensor(self.time), tf.convert_to_tensor(self.order)
        invisible = tf.cast(max(_INVISIBLE, float(time.dtype.min) / 2), time.dtype)
        time = tf.concat([tf.fill([self.num_spaces, 1], invisible), time], axis=1)
        steps = tf.range(_ORDER_BOUNDS[-1] + 1, dtype=tf.int64)
        by_step = tf.gather(order, time_bucket(steps, _ORDER_BOUNDS), axis=1)
        return time[:, :, tf.newaxis] + by_step[:, tf.newaxis, :]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "time_bounds": self.time_bounds,
        }


def _num_before(moments: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """How many of `times` [batch, tokens] come before each of `moments`, int32 [batch, moments]."""
    return tf.searchsorted(tf.sort(times, axis=1), moments, side="left")


def _look_up(table: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Columns of a table [spaces, n], as [spaces, batch, queries, tokens].

    The numbers of all spaces are copied together. Their gradient is a sum by place, of each
    row by itself: in the same order each time, and without TensorFlow's own one-by-one scatter.
    """

    @tf.custom_gradient
    def looked_up(table: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            rows = tf.reshape(places, [tf.shape(places)[0], -1])
            sums = [
                tf.math.bincount(
                    rows, tf.reshape(space, tf.shape(rows)), size, size, tf.float32, axis=-1
                )
                for space in tf.unstack(tf.cast(upstream, tf.float32))
            ]
            return tf.cast(tf.reduce_sum(sums, axis=1), table.dtype)

        size = table.shape[1]
        found = tf.gather(tf.transpose(table), places)
        return tf.transpose(found, [3, 0, 1, 2]), gradient

    return looked_up(table)
