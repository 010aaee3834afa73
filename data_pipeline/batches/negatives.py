"""Negatives: objects drawn uniformly from those that are not kept clear of."""

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches.block import is_new

# Room for an object index in a key that also holds a user's position in the block.
_OBJECT_BITS = 40


def distinct_objects(objects: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns each row's distinct values, sorted: int64 [rows, (values)] to the same.

    Example:

    >>> distinct_objects(tf.ragged.constant([[5, 2, 5], [7]], tf.int64)).to_list()
    [[2, 5], [7]]
    """
    keys = tf.bitwise.left_shift(ragged.row_ids(objects), _OBJECT_BITS) + objects.flat_values
    keys = tf.sort(keys)
    keys = tf.boolean_mask(keys, is_new(keys))
    return ragged.from_value_rowids(
        tf.bitwise.bitwise_and(keys, (1 << _OBJECT_BITS) - 1),
        tf.bitwise.right_shift(keys, _OBJECT_BITS),
        nrows=objects.nrows(),
        validate=False,
    )


def num_untouched(bounds: tf.RaggedTensor, pool_size: int) -> tf.Tensor:
    """Returns how many objects of [0, pool_size) each row has not touched: int64 [rows].

    Args:
        bounds: What `untouched_bounds` returned.
        pool_size: Number of objects to draw from.

    Example:

    >>> bounds = untouched_bounds(tf.ragged.constant([[0, 2], [1]], tf.int64))
    >>> num_untouched(bounds, 4).numpy().tolist()
    [2, 3]
    """
    return pool_size - bounds.row_lengths()


def untouched_bounds(touched: tf.RaggedTensor) -> tf.RaggedTensor:
    """Prepares draws of what rows have not touched, once for all of them.

    With a row's touched objects s_0 < s_1 < ..., its r-th untouched object is r + k, where k
    counts the j with s_j - j <= r.

    Args:
        touched: The distinct objects of each row, sorted: int64 [rows, (objects)].

    Returns:
        s_j - j in ascending keys that also hold the row, int64 [rows, (objects)].

    Example:

    >>> bounds = untouched_bounds(tf.ragged.constant([[0, 2, 5]], tf.int64))
    >>> bounds.to_list()  # 0 - 0, 2 - 1 and 5 - 2; untouched are 1, 3, 4, 6 ...
    [[0, 1, 3]]
    """
    rows = ragged.row_ids(touched)
    positions = tf.range(tf.shape(rows, out_type=tf.int64)[0]) - tf.gather(
        touched.row_starts(), rows
    )
    keys = tf.bitwise.left_shift(rows, _OBJECT_BITS) + touched.flat_values - positions
    return touched.with_flat_values(keys)


def random_numbers(*keys: tf.Tensor) -> tf.Tensor:
    """Returns a random number for each combination of keys, int64 [n], 0 or more.

    It depends on what it is drawn for, and not on the batch that this happens to be in: a
    query's negatives stay the same however batches are cut.

    Args:
        *keys: Integers [n] or [].

    Example:

    >>> numbers = random_numbers(tf.constant([7, 8, 7])).numpy()
    >>> numbers[0] == numbers[2] != numbers[1]
    np.True_

    Reference:
        Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014:
        the mixing function of SplitMix64.
    """
    state = tf.zeros([], tf.uint64)
    for key in keys:
        state = tf.bitwise.bitwise_xor(state, tf.bitcast(tf.cast(key, tf.int64), tf.uint64))
        state += tf.constant(0x9E3779B97F4A7C15, tf.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = _fold(state, shift) * tf.constant(factor, tf.uint64)
        state = _fold(state, 31)
    return tf.bitcast(tf.bitwise.right_shift(state, tf.constant(1, tf.uint64)), tf.int64)


@tf.function(autograph=False)  # Traced once for all pipelines: it is a third of their graphs.
def random_order(positions: tf.Tensor, sizes: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Returns the numbers at positions of a random order of 0 .. size - 1.

    Different positions of one order hold different numbers, and no order is ever written
    out: each key is a permutation that can be computed anywhere. It permutes the cells of
    a grid a little larger than `size`, in rounds that shift each row or column by another
    random number, until it meets a cell that is numbered below `size`.

    Args:
        positions: int64 [n], each in [0, size).
        sizes: int64 [n], 1 or more.
        keys: Which order, int64 [n].

    Returns:
        int64 [n], each in [0, size).

    Example:

    >>> fives = tf.fill([5], tf.constant(5, tf.int64))
    >>> order = random_order(tf.range(5, dtype=tf.int64), sizes=fives, keys=7 * fives)
    >>> sorted(order.numpy().tolist())
    [0, 1, 2, 3, 4]

    Reference:
        Black & Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002: the
        generalized Feistel cipher and cycle walking.
    """
    height = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(sizes, tf.float64))), tf.int64)
    width = -(-sizes // height)

    def shuffle(cells: tf.Tensor) -> tf.Tensor:
        row, column = cells // width, cells % width  # type: ignore[operator]
        for turn in range(3):
            row = (row + random_numbers(keys, 2 * turn, column) % height) % height  # type: ignore[arg-type, operator]
            column = (column + random_numbers(keys, 2 * turn + 1, row) % width) % width  # type: ignore[arg-type, operator]
        return row * width + column

    def walk(cells: tf.Tensor) -> tuple[tf.Tensor]:
        return (tf.where(cells < sizes, cells, shuffle(cells)),)

    (cells,) = tf.while_loop(
        lambda cells: tf.reduce_any(cells >= sizes), walk, (shuffle(positions),)
    )
    return cells


def sample_untouched(
    bounds: tf.RaggedTensor,
    pool_size: int,
    rows: tf.Tensor,
    positions: tf.Tensor,
    keys: tf.Tensor,
) -> tf.Tensor:
    """Draws objects that rows have not touched, each equally likely.

    Exact and without rejection, in time that depends on the number of draws and hardly on
    how much was touched.

    Args:
        bounds: What `untouched_bounds` returned of objects in [0, pool_size).
        pool_size: Number of objects to draw from.
        rows: For which rows of `bounds` to draw, one object each: int64 [n]. What is drawn
            for a row that has no untouched object left has no meaning.
        positions: Which draw of its key each is, 0, 1, 2 ...: int64 [n]. No object comes
            twice before all have come once.
        keys: Random numbers of 0 or more: int64 [n].

    Returns:
        Objects in [0, pool_size), int64 [n].

    Example:

    >>> bounds = untouched_bounds(tf.ragged.constant([[0, 2]], tf.int64))
    >>> zeros, positions = tf.zeros([2], tf.int64), tf.range(2, dtype=tf.int64)
    >>> sorted(sample_untouched(bounds, 4, zeros, positions, keys=zeros).numpy().tolist())
    [1, 3]
    """
    untouched = tf.maximum(tf.gather(num_untouched(bounds, pool_size), rows), 1)
    return untouched_at(bounds, rows, random_order(positions % untouched, untouched, keys))


def untouched_at(bounds: tf.RaggedTensor, rows: tf.Tensor, ranks: tf.Tensor) -> tf.Tensor:
    """Returns the untouched objects of rows by their ranks, the smallest first.

    Args:
        bounds: What `untouched_bounds` returned.
        rows: Rows of `bounds`, int64 [n].
        ranks: int64 [n].

    Returns:
        Objects, int64 [n].

    Example:

    >>> bounds = untouched_bounds(tf.ragged.constant([[0, 2]], tf.int64))
    >>> untouched_at(bounds, tf.zeros([3], tf.int64), tf.range(3, dtype=tf.int64)).numpy().tolist()
    [1, 3, 4]
    """
    wanted = tf.bitwise.left_shift(rows, _OBJECT_BITS) + ranks
    before = tf.searchsorted(bounds.flat_values, wanted, side="right", out_type=tf.int64)
    return ranks + before - tf.gather(bounds.row_starts(), rows)


def _fold(state: tf.Tensor, shift: int) -> tf.Tensor:
    shifted = tf.bitwise.right_shift(state, tf.constant(shift, tf.uint64))
    return tf.bitwise.bitwise_xor(state, shifted)
