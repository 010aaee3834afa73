"""Ragged batches: rows of different lengths, stored flat and padded only where attention needs it.

A ragged batch of vectors is a `tf.RaggedTensor` of shape [batch, (length), width]: its
`flat_values` [total length, width] hold the rows one after the other. Dense layers and
look-ups work on the flat values and never see padding.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# The constructors of ragged tensors, typed: TensorFlow's stubs lack them.
_RaggedTensor: Any = tf.RaggedTensor
from_row_lengths: Callable[..., tf.RaggedTensor] = _RaggedTensor.from_row_lengths
from_row_splits: Callable[..., tf.RaggedTensor] = _RaggedTensor.from_row_splits
from_tensor: Callable[..., tf.RaggedTensor] = _RaggedTensor.from_tensor
from_uniform_row_length: Callable[..., tf.RaggedTensor] = _RaggedTensor.from_uniform_row_length
from_value_rowids: Callable[..., tf.RaggedTensor] = _RaggedTensor.from_value_rowids


def like(rows: tf.RaggedTensor, values: tf.Tensor) -> tf.RaggedTensor:
    """Returns flat `values` [total length, ...] divided into the rows of `rows`.

    Example:

    >>> rows = tf.ragged.constant([[1, 2], [3]])
    >>> like(rows, 10 * rows.flat_values).to_list()
    [[10, 20], [30]]
    """
    return from_row_splits(values, rows.row_splits, validate=False)


def empty_rows(nothing: tf.Tensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Returns `count` rows without a value; `nothing` [0, ...] says of what.

    Example:

    >>> empty_rows(tf.zeros([0], tf.int64), 2).to_list()
    [[], []]
    """
    return from_row_lengths(nothing, tf.zeros([count], tf.int64), validate=False)


def longest(rows: tf.RaggedTensor) -> tf.Tensor:
    """Returns the length of the longest row, int64 []; 1 where all are empty.

    Example:

    >>> int(longest(tf.ragged.constant([[1, 2], [3]])))
    2
    """
    lengths = rows.row_lengths()
    return tf.reduce_max(tf.concat([tf.ones([1], lengths.dtype), lengths], axis=0))


def pad(rows: tf.RaggedTensor, filling: int = 0) -> tf.Tensor:
    """Returns `rows` [batch, (length), ...] padded: [batch, longest or 1, ...].

    Example:

    >>> pad(tf.ragged.constant([[1, 2], [3]])).numpy().tolist()
    [[1, 2], [3, 0]]
    """
    width = longest(rows)
    shape = [rows.nrows(), width, *rows.flat_values.shape[1:]]
    positions = _padded_positions(rows, width)

    @tf.custom_gradient
    def padded(values: tf.Tensor) -> tuple[tf.Tensor, object]:
        dense = like(rows, values).to_tensor(tf.cast(filling, values.dtype), shape=shape)  # type: ignore[arg-type]
        return dense, lambda upstream: _take(upstream, positions)

    return padded(rows.flat_values)


def unpad(padded: tf.Tensor, rows: tf.RaggedTensor) -> tf.Tensor:
    """Returns the flat values [total length, ...] of a batch padded like `pad(rows)`.

    Example:

    >>> rows = tf.ragged.constant([[1, 2], [3]])
    >>> unpad(10 * pad(rows), rows).numpy().tolist()
    [10, 20, 30]
    """
    positions = _padded_positions(rows, tf.shape(padded, rows.row_splits.dtype)[1])

    @tf.custom_gradient
    def flat(dense: tf.Tensor) -> tuple[tf.Tensor, object]:
        shape = tf.shape(dense, rows.row_splits.dtype)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return like(rows, upstream).to_tensor(shape=shape)

        return _take(dense, positions), gradient

    return flat(padded)


def row_ids(rows: tf.RaggedTensor) -> tf.Tensor:
    """Returns which row each value is in, int64 [total length].

    As `rows.value_rowids()`, whose graph is several times as large and writes a padded mask.

    Example:

    >>> row_ids(tf.ragged.constant([[1, 2], [], [3]])).numpy().tolist()
    [0, 0, 2]
    """
    positions = tf.range(rows.row_splits[-1])
    return tf.searchsorted(rows.row_limits(), positions, side="right", out_type=tf.int64)


def per_value(rows: tf.RaggedTensor, row_values: tf.Tensor) -> tf.Tensor:
    """Repeats what each row has, [batch, ...], for each of its values: [total length, ...].

    Example:

    >>> per_value(tf.ragged.constant([[1, 2], [3]]), tf.constant([7, 8])).numpy().tolist()
    [7, 7, 8]
    """
    return tf.gather(row_values, row_ids(rows))


def spread(rows: tf.RaggedTensor, row_values: tf.Tensor) -> tf.RaggedTensor:
    """Repeats what each row has, [batch, ...], for each of its values: [batch, (length), ...].

    Example:

    >>> spread(tf.ragged.constant([[1, 2], [3]]), tf.constant([7, 8])).to_list()
    [[7, 7], [8]]
    """
    return like(rows, per_value(rows, row_values))


def concat_rows(batches: Sequence[tf.RaggedTensor]) -> tf.RaggedTensor:
    """Joins ragged batches row by row, as `tf.concat(batches, axis=1)` does.

    The values are moved once, and their gradients once: a permutation, not the general
    gather that `tf.concat` makes of it.

    Args:
        batches: Ragged batches [batch, (length), ...] of the same batch and width.

    Returns:
        A ragged batch [batch, (sum of lengths), ...].

    Example:

    >>> concat_rows([tf.ragged.constant([[1, 2], [3]]), tf.ragged.constant([[4], [5]])]).to_list()
    [[1, 2, 4], [3, 5]]
    """
    if len(batches) == 1:
        return batches[0]
    lengths = tf.stack([batch.row_lengths() for batch in batches], axis=1)
    starts = tf.reshape(tf.cumsum(tf.reshape(lengths, [-1]), exclusive=True), tf.shape(lengths))
    positions = tf.concat(
        [
            per_value(batch, starts[:, i] - batch.row_starts())
            + tf.range(tf.shape(batch.flat_values, out_type=tf.int64)[0])
            for i, batch in enumerate(batches)
        ],
        axis=0,
    )
    values = _permute(tf.concat([batch.flat_values for batch in batches], axis=0), positions)
    return from_row_lengths(values, tf.reduce_sum(lengths, 1), validate=False)


def sort_rows(rows: tf.RaggedTensor, keys: tf.RaggedTensor) -> tf.RaggedTensor:
    """Sorts each row of `rows` [batch, (length), ...] by its `keys` [batch, (length)], stably.

    Example:

    >>> rows = tf.ragged.constant([["b", "a"], ["c"]])
    >>> sort_rows(rows, tf.ragged.constant([[20, 10], [30]])).to_list()
    [[b'a', b'b'], [b'c']]
    """
    order = tf.argsort(keys.flat_values, stable=True)
    owners = tf.gather(row_ids(keys), order)
    order = tf.gather(order, tf.argsort(owners, stable=True))
    return like(rows, _permute(rows.flat_values, tf.math.invert_permutation(order)))


def _padded_positions(rows: tf.RaggedTensor, width: tf.Tensor) -> tf.Tensor:
    """The position of each value in the flattened batch when rows are padded to a width."""
    shifts = width * tf.range(rows.nrows()) - rows.row_starts()
    return per_value(rows, shifts) + tf.range(tf.shape(rows.flat_values, shifts.dtype)[0])


def _take(dense: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """The values at positions of a padded batch: a gather, whose gradient is to pad again.

    TensorFlow's own gradients of padding and unpadding add vectors up, one by one.
    """
    return tf.gather(tf.reshape(dense, [-1, *dense.shape[2:]]), positions)


@tf.custom_gradient
def _permute(values: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, object]:
    """Moves value i of `values` to position `positions[i]`."""
    origins = tf.math.invert_permutation(positions)
    return tf.gather(values, origins), lambda upstream: (tf.gather(upstream, positions), None)
