"""Rows of queries: one for each query time of a user."""

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
    keys,
    target_features,
)
from data_pipeline.batches.options import BatchOptions
from data_pipeline.schema import Schema


def query_rows(
    block: Block, schema: Schema, split: str, options: BatchOptions, seed: tf.Tensor
) -> dict[str, Any]:
    """Returns a row for each time at which a user has targets.

    Args:
        block: What `parse_timelines` returned.
        schema: The schema, of the targets that rows hold.
        split: "train", "validation" or "test".
        options: Resolved.
        seed: Two integers, of the choice of queries.

    Returns:
        `user`, `time`, `history` and `targets`, as `packing.pack_rows` has them.
    """
    times = {target: block[target_features(schema.group(target))[0]] for target in schema.targets}
    query_keys = tf.concat(
        [tf.boolean_mask(keys(each), in_split(block, each, split)) for each in times.values()], 0
    )
    query_keys = tf.sort(query_keys)
    query_keys = tf.boolean_mask(query_keys, is_new(query_keys))
    if options.max_queries:
        query_keys = _choose(query_keys, options.max_queries, seed)
    return {
        "user": key_user(query_keys),
        "time": key_time(query_keys),
        "history": history_ranges(block, schema, options.max_history, query_keys),
        "targets": {target: equal_ranges(keys(each), query_keys) for target, each in times.items()},
    }


def _choose(query_keys: tf.Tensor, limit: int, seed: tf.Tensor) -> tf.Tensor:
    """Keeps at most `limit` of each user's queries, chosen at random."""
    shuffled = tf.random.experimental.stateless_shuffle(query_keys, seed)
    users = key_user(shuffled)
    order = tf.argsort(users, stable=True)
    users = tf.gather(users, order)
    rank = tf.range(tf.shape(users)[0]) - tf.searchsorted(users, users, side="left")
    return tf.sort(tf.gather(shuffled, tf.boolean_mask(order, rank < limit)))
