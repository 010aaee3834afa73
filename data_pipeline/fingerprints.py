"""Fingerprints: numbers that tell raw ids and feature values apart, in data and in graphs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Of the hash that makes them: the largest int64, so that none is negative.
NUM_FINGERPRINTS = (1 << 63) - 1

# Stands where there is no value.
NO_VALUE = -1


def fingerprint(values: "tf.Tensor") -> "tf.Tensor":
    """Returns what tells each value from all others: int64 [...], of 0 or more.

    An integer and its digits as a string are one value.

    Args:
        values: Integers or strings [...].

    Example:

    >>> tea, again, rice = fingerprint(tf.constant(["tea", "tea", "rice"])).numpy()
    >>> tea == again, tea == rice
    (np.True_, np.False_)
    """
    import tensorflow as tf  # Here: the constants are of use without it.

    return tf.strings.to_hash_bucket_fast(tf.strings.as_string(values), NUM_FINGERPRINTS)
