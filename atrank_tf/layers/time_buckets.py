"""Logarithmic buckets of the gap between two times."""

from collections.abc import Sequence

import tensorflow as tf

from data_pipeline.schema import SECONDS_PER_DAY

_FINE_BUCKETS = 16


def day_bounds(num_buckets: int, units_per_day: int) -> list[int]:
    """Returns the bounds of the paper's buckets: [0, 1) day, [1, 2), [2, 4) ... [2^k, 2^(k+1)).

    Args:
        num_buckets: How many buckets they bound.
        units_per_day: How many units of time make a day.

    Returns:
        num_buckets - 1 gaps in units of time, ascending.
    """
    return [units_per_day << k for k in range(num_buckets - 1)]


def fine_bounds(units_per_day: int) -> list[int]:
    """Returns the bounds of 16 buckets that also tell apart what happened within a day.

    They are [0, 4) seconds, [4, 16) ... [4^k, 4^(k+1)); the last begins at 34 years.
    """
    second = units_per_day // SECONDS_PER_DAY
    return [second * 4**k for k in range(1, _FINE_BUCKETS)]


def with_one(bounds: Sequence[int]) -> list[int]:
    """Returns bounds with a first one at 1: bucket 0 is then of what lies no time before.

    Raises:
        ValueError: The bounds do not ascend from 2 on.
    """
    if sorted({1, *bounds}) != [1, *bounds]:
        raise ValueError(f"time_bounds is {list(bounds)}: expected to ascend, from 2 on")
    return [1, *bounds]


def time_bucket(gap: tf.Tensor, bounds: Sequence[int]) -> tf.Tensor:
    """Returns the bucket that a gap is in: how many bounds are not above it.

    The last bucket has no upper bound and the first no lower one. The comparison is one of
    integers, hence exact.

    Args:
        gap: Integers [...], in units of time.
        bounds: Ascending, in units of time.

    Returns:
        int32 [...], from 0 to the number of bounds.
    """
    ascending = tf.constant(bounds, tf.int64)
    flat = tf.searchsorted(ascending, tf.reshape(gap, [-1]), side="right", out_type=tf.int32)
    return tf.reshape(flat, tf.shape(gap))
