"""Batch rows of queries: one for each query time of a user."""

from typing import Any

import tensorflow as tf

from data_pipeline.batches.block import (
    Block,
    equal_ranges,
    history_ranges,
    in_split,
    is_new,
    key_time,
    key_user,
    target_times,
    time_keys,
)
from data_pipeline.batches.options import BatchOptions
from data_pipeline.schema import Schema


def query_rows(
    block: Block, schema: Schema, split: str, options: BatchOptions, seed: tf.Tensor
) -> dict[str, Any]:
    """Returns a batch row for each time at which a user has targets.

    Args:
        block: What `parse_timelines` returned.
        schema: The schema, of the targets that rows hold.
        split: "train", "validation" or "test".
        options: Resolved.
        seed: Two integers, of the choice of queries.

    Returns:
        `user`, `time`, `history` and `targets`, as `packing.pack_rows` has them.

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> block = dict.fromkeys(("validation_start", "test_start"), tf.constant([30], tf.int64))
    >>> block["item/time"] = tf.ragged.constant([[10, 20, 20, 30]], tf.int64)
    >>> from data_pipeline.batches.block import with_targets
    >>> block = with_targets(block, schema)
    >>> seed = tf.constant([0, 0], tf.int64)
    >>> query_rows(block, schema, "train", BatchOptions(), seed)["time"].numpy().tolist()
    [10, 20]
    """
    times = {target: target_times(block, target) for target in schema.target_names}
    target_keys = [
        tf.boolean_mask(time_keys(of_target), in_split(block, of_target, split))
        for of_target in times.values()
    ]
    query_keys = tf.sort(tf.concat(target_keys, axis=0))
    query_keys = tf.boolean_mask(query_keys, is_new(query_keys))
    if options.max_queries:
        query_keys = _choose(query_keys, options.max_queries, seed)
    return {
        "user": key_user(query_keys),
        "time": key_time(query_keys),
        "history": history_ranges(block, schema, options.max_history, query_keys),
        "targets": {
            target: equal_ranges(time_keys(of_target), query_keys)
            for target, of_target in times.items()
        },
    }


def _choose(query_keys: tf.Tensor, limit: int, seed: tf.Tensor) -> tf.Tensor:
    """Keeps at most `limit` of each user's queries, chosen at random."""
    shuffled = tf.random.experimental.stateless_shuffle(query_keys, seed)  # type: ignore[attr-defined]
    users = key_user(shuffled)
    order = tf.argsort(users, stable=True)
    users = tf.gather(users, order)
    rank = tf.range(tf.shape(users)[0]) - tf.searchsorted(users, users, side="left")
    return tf.sort(tf.gather(shuffled, tf.boolean_mask(order, rank < limit)))
