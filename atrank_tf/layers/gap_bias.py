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
        hidden_bucket = len(self.time_bounds) + 1
        buckets = tf.where(gaps > 0, time_bucket(gaps, self.time_bounds), hidden_bucket)
        table = tf.convert_to_tensor(self.time)
        hidden = tf.fill(
            [self.num_spaces, 1], tf.cast(max(_INVISIBLE, float(table.dtype.min) / 2), table.dtype)
        )
        order = _num_before(query_times, times)[:, :, tf.newaxis]
        order -= _num_before(times, times)[:, tf.newaxis, :]
        biases = _look_up(tf.concat([table, hidden], axis=1), buckets) + _look_up(
            tf.convert_to_tensor(self.order), time_bucket(order, _ORDER_BOUNDS)
        )
        return tf.ensure_shape(biases, [self.num_spaces, None, None, None])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "time_bounds": self.time_bounds,
        }


def _num_before(moments: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """How many of `times` [batch, tokens] come before each of `moments`, int64 [batch, moments]."""
    is_before = moments[:, :, tf.newaxis] > times[:, tf.newaxis, :]
    return tf.reduce_sum(tf.cast(is_before, tf.int64), axis=-1)


def _look_up(table: tf.Tensor, buckets: tf.Tensor) -> tf.Tensor:
    """Columns of a table [spaces, buckets], as [spaces, batch, queries, tokens].

    A product with one-hot columns, and not a look-up: its gradient is a product, too.
    """
    columns = tf.one_hot(buckets, table.shape[1], axis=0, dtype=table.dtype)
    return tf.tensordot(table, columns, axes=1)
