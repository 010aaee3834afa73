"""Negatives by popularity: objects drawn by their number of training events.

Each training event is a slot, and every object has as many slots in a row as it has events. To draw
an object by popularity is to draw a slot uniformly; what a row must keep clear of are ranges of
slots, so that draws are exact, without rejection, and take a few searches.
"""

from typing import NamedTuple

import tensorflow as tf

from data_pipeline import ragged

# Room for a slot in a key that also holds a row.
_SLOT_BITS = 40


class SlotBounds(NamedTuple):
    """Prepares draws of slots that rows do not keep clear of, once for all of them.

    Attributes:
        keys: Of each excluded object its first slot less the excluded ones before it, in ascending
            keys that also hold the row: int64 [rows, (objects)].
        excluded: Excluded slots of the row up to and with each object: int64 [rows, (objects)].
        left: Slots that each row may draw: int64 [rows].
        ends: Where the slots of each object end: int64 [pool].

    Example:

    >>> bounds = slot_bounds(tf.ragged.constant([[1]], tf.int64), tf.constant([2, 5, 1], tf.int64))
    >>> bounds.left.numpy().tolist()  # Of eight slots, five are object 1's.
    [3]
    """

    keys: tf.RaggedTensor
    excluded: tf.RaggedTensor
    left: tf.Tensor
    ends: tf.Tensor


def slot_bounds(excluded: tf.RaggedTensor, counts: tf.Tensor) -> SlotBounds:
    """Returns what draws need.

    Args:
        excluded: The distinct objects of the pool that each row keeps clear of, sorted: int64
            [rows, (objects)].
        counts: Training events of each object of the pool, int64 [pool].

    Example:

    >>> nothing = tf.ragged.constant([[]], tf.int64)
    >>> slot_bounds(nothing, tf.constant([2, 5], tf.int64)).ends.numpy().tolist()
    [2, 7]
    """
    ends = tf.cumsum(counts)
    rows = ragged.row_ids(excluded)
    of_objects = tf.gather(counts, excluded.flat_values)
    sums = tf.concat([[0], tf.cumsum(of_objects)], axis=0)
    before_row = tf.gather(sums, tf.gather(excluded.row_starts(), rows))
    up_to = sums[1:] - before_row
    firsts = tf.gather(ends, excluded.flat_values) - of_objects
    keys = tf.bitwise.left_shift(rows, _SLOT_BITS) + firsts - (up_to - of_objects)
    total = tf.reduce_sum(counts)
    left = total - (tf.gather(sums, excluded.row_limits()) - tf.gather(sums, excluded.row_starts()))
    return SlotBounds(ragged.like(excluded, keys), ragged.like(excluded, up_to), left, ends)


def sample_by_popularity(bounds: SlotBounds, rows: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Draws objects that rows do not keep clear of, each as likely as it is popular.

    One object may be drawn several times.

    Args:
        bounds: What `slot_bounds` returned.
        rows: For which rows to draw, one object each: int64 [n]. What is drawn for a row without a
            slot left has no meaning.
        numbers: Random numbers of 0 or more: int64 [n].

    Returns:
        Objects of the pool, int64 [n].

    Example:

    >>> bounds = slot_bounds(tf.ragged.constant([[1]], tf.int64), tf.constant([2, 5, 1], tf.int64))
    >>> sample_by_popularity(bounds, tf.zeros([3], tf.int64), tf.range(3, dtype=tf.int64)).numpy()
    array([0, 0, 2])
    """
    slots = numbers % tf.maximum(tf.gather(bounds.left, rows), 1)
    wanted = tf.bitwise.left_shift(rows, _SLOT_BITS) + slots
    before = tf.searchsorted(bounds.keys.flat_values, wanted, side="right", out_type=tf.int64)
    is_after_any = before > tf.gather(bounds.keys.row_starts(), rows)
    excluded = tf.concat([[0], bounds.excluded.flat_values], axis=0)
    slots += tf.where(is_after_any, tf.gather(excluded, before), 0)
    objects = tf.searchsorted(bounds.ends, slots, side="right", out_type=tf.int64)
    return tf.minimum(objects, tf.shape(bounds.ends, tf.int64)[0] - 1)
