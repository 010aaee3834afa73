"""Logarithmic buckets of the gap between a behaviour and the moment of prediction."""

import tensorflow as tf


def time_bucket(gap: tf.Tensor, num_buckets: int, units_per_day: int) -> tf.Tensor:
    """Returns the bucket of a gap in time: [0, 1) day, [1, 2), [2, 4) ... [2^k, 2^(k+1)) days.

    The last bucket has no upper bound and the first no lower one. (ATRank, section
    "Behavior embedding spaces".) The comparison is one of integers, hence exact.

    Args:
        gap: Integers [...]: the moment of prediction less that of the behaviour.
        num_buckets: How many buckets there are.
        units_per_day: How many units of `gap` make a day.

    Returns:
        int64 [...], in [0, num_buckets).
    """
    bounds = tf.constant([units_per_day << k for k in range(num_buckets - 1)], tf.int64)
    flat = tf.searchsorted(bounds, tf.reshape(gap, [-1]), side="right", out_type=tf.int64)
    return tf.reshape(flat, tf.shape(gap))
