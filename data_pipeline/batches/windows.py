"""Batch rows of windows: many query times of a user in one row.

A user's training period, the events and targets of all groups in the order of time, is divided
into windows of `max_history // 2` entries. Where the first one ends is random, so windows differ
from epoch to epoch. With max_history = 8:

    entries      e0 e1 | e2 e3 e4 e5 | e6 e7 e8 e9 | e10 ...
    window       0     | 1           | 2           | 3
    queries                            q6 q7 q8 q9            the targets among e6 .. e9
    history      <= 4 of each group before q6, and all up to q9 of the newest 8 before q9

So the first target of a window sees at least the newest half of a history and the last one all of
it, and every target comes once an epoch. Candidates that were logged in lists are not divided
within one time.
"""

from collections.abc import Collection
from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches.block import (
    Block,
    Range,
    equal_ranges,
    history_ranges,
    in_split,
    is_new,
    key_user,
    time_keys,
)
from data_pipeline.batches.options import BatchOptions
from data_pipeline.schema import Schema

# Room for the number of a window in a key that also holds a user's position in the block.
_WINDOW_BITS = 40
_NO_WINDOW = (1 << _WINDOW_BITS) - 1

# The key of an entry of another split; it sorts behind all others.
_NEVER = tf.int64.max


def window_rows(
    block: Block, schema: Schema, split: str, options: BatchOptions, seed: tf.Tensor
) -> dict[str, Any]:
    """Returns a batch row for each window of a user's training period that has targets.

    Args:
        block: What `parse_timelines` returned.
        schema: The schema, of the targets that rows hold.
        split: "train".
        options: Resolved.
        seed: Two integers, of where windows end.

    Returns:
        `user`, `history` and `targets`, as `packing.pack_rows` has them.

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> block = dict.fromkeys(("validation_start", "test_start"), tf.constant([90], tf.int64))
    >>> block |= {"user_index": tf.constant([7], tf.int64)}
    >>> block |= {"item/time": tf.ragged.constant([[10, 20, 30, 40, 50]], tf.int64)}
    >>> seed = tf.constant([0, 0], tf.int64)
    >>> rows = window_rows(block, schema, "train", BatchOptions(max_history=4), seed)
    >>> starts, limits = rows["targets"]["item"]
    >>> int(tf.reduce_sum(limits - starts))  # Each of the five events is a target once.
    5
    """
    size = max(1, options.max_history // 2)
    event_times = [f"{group.name}/time" for group in schema.groups]
    target_times = {target: _times_name(schema, target) for target in schema.target_names}
    names = list(dict.fromkeys([*event_times, *target_times.values()]))
    undivided = {
        target_times[target]
        for target in schema.target_names
        if "list" in schema.place_columns(schema.target(target).group)
    }
    window_keys = _window_keys(block, names, undivided, split, size, seed)

    with_targets = _with_targets([window_keys[name] for name in target_times.values()])
    targets = {
        target: equal_ranges(window_keys[name], with_targets)
        for target, name in target_times.items()
    }
    first, last = _first_and_last_query(
        [(time_keys(block[name]), targets[target]) for target, name in target_times.items()]
    )
    before_first = history_ranges(block, schema, options.max_history - size, first)
    before_last = history_ranges(block, schema, options.max_history, last)
    return {
        "user": tf.bitwise.right_shift(with_targets, _WINDOW_BITS),
        "history": {
            group: (tf.minimum(before_first[group][0], start), limit)
            for group, (start, limit) in before_last.items()
        },
        "targets": targets,
    }


def _times_name(schema: Schema, target: str) -> str:
    """The name of a target's times in a block: where they are a group's, they count once."""
    group = schema.target_group(target)
    if group.impressions:
        return f"{group.name}/candidate_time"
    return f"target/{target}/time" if schema.target(target).actions else f"{group.name}/time"


def _window_keys(
    block: Block,
    names: list[str],
    undivided: Collection[str],
    split: str,
    size: int,
    seed: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Which window of its user each entry is in: one number for both, by the times' names.

    Of the `undivided` those of one time are in one window, however many they are.
    """
    times = {name: block[name] for name in names}
    in_period = {name: in_split(block, times[name], split) for name in names}
    ranks, users_of_ranks = _rank_in_time(times, in_period)

    users = tf.range(tf.shape(block["user_index"], tf.int64)[0])
    starts, limits = equal_ranges(users_of_ranks, users)
    offsets = tf.random.stateless_uniform(tf.shape(users), seed, 0, size, tf.int64)
    origins = starts - tf.where(limits - starts > size, offsets, 0)

    window_keys = {}
    for name in names:
        ranks_of_name = ranks[name]
        if name in undivided:
            entry_keys = time_keys(times[name])
            first = tf.searchsorted(entry_keys, entry_keys, side="left", out_type=tf.int64)
            ranks_of_name = tf.gather(ranks_of_name, first)
        window = (ranks_of_name - ragged.per_value(times[name], origins)) // size
        window = tf.where(in_period[name], window, _NO_WINDOW)
        users_of_entries = ragged.row_ids(times[name])
        window_keys[name] = tf.bitwise.left_shift(users_of_entries, _WINDOW_BITS) + window
    return window_keys


def _rank_in_time(
    times: dict[str, tf.RaggedTensor], in_period: dict[str, tf.Tensor]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Each entry's position when all are sorted by user and time, and the user at each position."""
    entry_keys = [tf.where(in_period[name], time_keys(times[name]), _NEVER) for name in times]
    joined = tf.concat(entry_keys, axis=0)
    order = tf.argsort(joined, stable=True)
    ranks = tf.cast(tf.math.invert_permutation(order), tf.int64)
    sizes = [tf.size(mask) for mask in in_period.values()]
    by_name = dict(zip(times, tf.split(ranks, sizes), strict=True))
    return by_name, key_user(tf.gather(joined, order))


def _with_targets(window_keys: list[tf.Tensor]) -> tf.Tensor:
    """The windows that hold a target, each once, ascending: int64 [windows]."""
    ascending = tf.sort(tf.concat(window_keys, axis=0))
    is_window = tf.bitwise.bitwise_and(ascending, _NO_WINDOW) != _NO_WINDOW
    return tf.boolean_mask(ascending, tf.logical_and(is_new(ascending), is_window))


def _first_and_last_query(targets: list[tuple[tf.Tensor, Range]]) -> tuple[tf.Tensor, tf.Tensor]:
    """The earliest and the latest query of each window.

    Args:
        targets: For each target the keys of its entries, ascending, and the range of them
            that each window holds.
    """
    first = tf.fill(tf.shape(targets[0][1][0]), _NEVER)
    last = tf.zeros_like(first)
    for entry_keys, (start, limit) in targets:
        padded = tf.concat([entry_keys, [0]], axis=0)
        holds_any = limit > start
        earliest = tf.gather(padded, start)
        latest = tf.gather(padded, tf.maximum(limit - 1, 0))
        first = tf.where(holds_any, tf.minimum(first, earliest), first)
        last = tf.where(holds_any, tf.maximum(last, latest), last)
    return first, last
