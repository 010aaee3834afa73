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

    Example:

    >>> day_bounds(num_buckets=4, units_per_day=86_400)
    [86400, 172800, 345600]
    """
    return [units_per_day << k for k in range(num_buckets - 1)]


def fine_bounds(units_per_day: int) -> list[int]:
    """Returns the bounds of 16 buckets that also distinguish times within a day.

    They are [0, 4) seconds, [4, 16) ... [4^k, 4^(k+1)); the last begins at 34 years.

    Args:
        units_per_day: How many units of time make a day.

    Returns:
        15 gaps in units of time, ascending.

    Example:

    >>> fine_bounds(units_per_day=86_400)[:3]
    [4, 16, 64]
    """
    second = units_per_day // SECONDS_PER_DAY
    return [second * 4**k for k in range(1, _FINE_BUCKETS)]


def with_one(bounds: Sequence[int]) -> list[int]:
    """Returns bounds with 1 before them: bucket 0 is then of gaps that are 0 or less.

    Args:
        bounds: Ascending from 2 on, in units of time.

    Raises:
        ValueError: The bounds do not ascend from 2 on.

    Example:

    >>> with_one([60, 3600])
    [1, 60, 3600]
    """
    if sorted({1, *bounds}) != [1, *bounds]:
        raise ValueError(f"time_bounds is {list(bounds)}: expected to ascend, from 2 on")
    return [1, *bounds]


def time_bucket(gap: tf.Tensor, bounds: Sequence[int]) -> tf.Tensor:
    """Returns the bucket that a gap is in: how many bounds are not above it.

    The last bucket has no upper bound and the first no lower one. Integers are compared, so it
    is exact.

    Args:
        gap: int64 [...], in units of time.
        bounds: Ascending, in units of time.

    Returns:
        int32 [...], from 0 to the number of bounds.

    Example:

    >>> time_bucket(tf.constant([0, 59, 60, 10**6], tf.int64), [60, 3600]).numpy().tolist()
    [0, 0, 1, 2]
    """
    ascending = tf.constant(bounds, tf.int64)
    flat = tf.searchsorted(ascending, tf.reshape(gap, [-1]), side="right", out_type=tf.int32)
    return tf.reshape(flat, tf.shape(gap))
