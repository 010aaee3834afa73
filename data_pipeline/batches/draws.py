"""Which negatives are drawn: from what a row keeps clear of, by the options' way of sampling."""

from collections.abc import Mapping

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches import negatives
from data_pipeline.batches.block import (
    Block,
    in_split,
    is_new,
    pool_size,
    position_in_query,
    target_times,
    time_keys,
)
from data_pipeline.batches.options import BatchOptions
from data_pipeline.batches.popularity import sample_by_popularity, slot_bounds
from data_pipeline.catalog import Catalog, target_counts
from data_pipeline.schema import Group, Schema

# By target the training events of each object, int64 [objects].
Counts = Mapping[str, tf.Tensor]


def object_counts(catalog: Catalog, schema: Schema) -> dict[str, tf.Tensor]:
    """Returns the training events of each object, by target.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> sorted(object_counts(catalog, schema))
    ['item', 'query']
    """
    return {
        target: tf.constant(target_counts(catalog, schema, target), tf.int64)
        for target in schema.target_names
    }


def prepare_draws(
    block: Block, schema: Schema, split: str, options: BatchOptions, counts: Counts | None = None
) -> Block:
    """Adds to a block what its batches share in drawing negatives.

    Args:
        block: What `parse_timelines` returned.
        schema: The schema.
        split: "train", "validation" or "test".
        options: Resolved.
        counts: What `object_counts` returned; read where negatives are drawn by popularity.

    Returns:
        The block and, for each target whose negatives are sampled, `TARGET/bounds`, what
        `untouched_bounds` or `slot_bounds` returned of the objects that negatives must not be;
        `TARGET/excluded_row`, which row of it each event's negatives keep clear of; and
        `TARGET/position`, each event's position among those of its time.

    Example:

    >>> schema = Schema((Group("item", num_logged=4, num_oov=1),), ("item",))
    >>> block = {"item/object": tf.ragged.constant([[1, 3]], tf.int64)}
    >>> block |= {"item/time": tf.ragged.constant([[10, 10]], tf.int64)}
    >>> from data_pipeline.batches.block import with_targets
    >>> block = with_targets(block, schema)
    >>> options = BatchOptions().resolved("test", ["item"])
    >>> prepared = prepare_draws(block, schema, "test", options)
    >>> prepared["item/position"].numpy().tolist()
    [0, 1]
    """
    prepared = dict(block)
    for target in schema.target_names:
        group = schema.target_group(target)
        if group.impressions:
            continue
        excluded, excluded_row = _excluded(block, target, group, split)
        if options.sampling == "popularity":
            assert counts is not None
            pool = counts[target][group.num_oov : group.num_oov + pool_size(group, split)]
            prepared[f"{target}/bounds"] = slot_bounds(excluded, pool)
        else:
            prepared[f"{target}/bounds"] = negatives.untouched_bounds(excluded)
        prepared[f"{target}/excluded_row"] = excluded_row
        prepared[f"{target}/position"] = position_in_query(target_times(block, target))
    return prepared


def num_negatives(
    block: Block, target: str, group: Group, split: str, options: BatchOptions
) -> tf.Tensor:
    """Returns how many negatives a draw gives, by the row that it keeps clear of: int64 [rows].

    Args:
        block: What `prepare_draws` returned.
        target: Name of the target.
        group: Its group.
        split: "train", "validation" or "test".
        options: Resolved.

    Example:

    >>> item = Group("item", num_logged=9)
    >>> block = {"item/bounds": negatives.untouched_bounds(tf.ragged.constant([[0, 2]], tf.int64))}
    >>> options = BatchOptions(sampling="all").resolved("test", ["item"])
    >>> num_negatives(block, "item", item, "test", options).numpy().tolist()
    [7]
    """
    assert options.num_negatives is not None  # It is resolved.
    bounds = block[f"{target}/bounds"]
    if options.sampling == "popularity":
        return tf.where(bounds.left > 0, tf.constant(options.num_negatives, tf.int64), 0)
    num_untouched = negatives.num_untouched(bounds, pool_size(group, split))
    if options.sampling == "all":
        return num_untouched
    return tf.minimum(num_untouched, options.num_negatives)


def draw(
    block: Block,
    target: str,
    group: Group,
    split: str,
    options: BatchOptions,
    rows: tf.Tensor,
    positions: tf.Tensor,
    keys: tf.Tensor,
) -> tf.Tensor:
    """Draws negatives.

    Args:
        block: What `prepare_draws` returned.
        target: Name of the target.
        group: Its group.
        split: "train", "validation" or "test".
        options: Resolved.
        rows: Which row each keeps clear of, int64 [n].
        positions: Which draw of its key each is, 0, 1, 2 ...: int64 [n].
        keys: Random numbers of 0 or more: int64 [n].

    Returns:
        Object indices, int64 [n].

    Example:

    >>> item = Group("item", num_logged=4, num_oov=1)
    >>> block = {"item/bounds": negatives.untouched_bounds(tf.ragged.constant([[0, 2]], tf.int64))}
    >>> options = BatchOptions(sampling="all").resolved("test", ["item"])
    >>> zeros, positions = tf.zeros([2], tf.int64), tf.range(2, dtype=tf.int64)
    >>> draw(block, "item", item, "test", options, zeros, positions, zeros).numpy()
    array([2, 4])
    """
    bounds = block[f"{target}/bounds"]
    size = pool_size(group, split)
    if options.sampling == "popularity":
        numbers = negatives.random_numbers(keys, positions)
        drawn = sample_by_popularity(bounds, rows, numbers)
    elif options.sampling == "all":
        drawn = negatives.untouched_at(bounds, rows, positions)
    else:
        drawn = negatives.sample_untouched(bounds, size, rows, positions, keys)
    return group.num_oov + drawn


def _excluded(
    block: Block, target: str, group: Group, split: str
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """The distinct objects of the pool that a target's negatives must keep clear of, in rows.

    Untaken negatives have a row for each time at which a user took any, untouched ones a row for
    each user. Of these training knows what was touched in the training period alone: to hide
    held-out objects from its negatives would show the model which they are.

    Returns:
        The objects, and the row of each of the target's events, int64 [events].
    """
    taken, times_taken = block[f"target/{target}/object"], target_times(block, target)
    is_untaken = group.negatives == "untaken"
    objects = taken if is_untaken else block[f"{group.name}/object"]
    pool_indices = objects.flat_values - group.num_oov
    is_excluded = tf.logical_and(pool_indices >= 0, pool_indices < pool_size(group, split))
    if is_untaken:
        rows = tf.cumsum(tf.cast(is_new(time_keys(times_taken)), tf.int64)) - 1
        num_rows = tf.reduce_max(tf.concat([[-1], rows], axis=0)) + 1
        of_targets = rows
    else:
        rows, num_rows = ragged.row_ids(objects), objects.nrows()
        of_targets = ragged.row_ids(taken)
        if split == "train":
            in_period = in_split(block, block[f"{group.name}/time"], "train")
            is_excluded = tf.logical_and(is_excluded, in_period)
    excluded = ragged.from_value_rowids(
        tf.boolean_mask(pool_indices, is_excluded),
        tf.boolean_mask(rows, is_excluded),
        nrows=num_rows,
        validate=False,
    )
    return negatives.distinct_objects(excluded), of_targets
