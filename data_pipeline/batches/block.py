"""A block: the timelines of some users, parsed, and where events stand in it.

All of it is whole-array work: nothing here runs per user or per event. Of each user and
group the events stand together, sorted by time.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.schema import Group, Schema

Block = dict[str, Any]

_EVENT = ("time", "object", "action")

# Where a range starts and ends, int64 [n] each.
Range = tuple[tf.Tensor, tf.Tensor]

# Room for a time in a key that also holds a user's position in the block: until the year
# 2248 in milliseconds.
_TIME_BITS = 43
_TIME_MASK = (1 << _TIME_BITS) - 1


def parse_timelines(records: tf.Tensor, schema: Schema) -> Block:
    """Parses serialized timelines, string [users], into ragged int64 features.

    Example:

    >>> data = TimelineData(toy_data())
    >>> shard = tf.data.TFRecordDataset(str(data.directory / data.manifest.shards[0].file))
    >>> block = parse_timelines(next(iter(shard.batch(2))), data.schema)
    >>> sorted(block)[:3], block["item/time"].shape[0]
    (['item/action', 'item/object', 'item/time'], 2)
    """
    several = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    scalar = tf.io.FixedLenFeature([], tf.int64)
    features: dict[str, Any] = dict.fromkeys(
        ("user_index", "validation_start", "test_start"), scalar
    )
    for group in schema.groups:
        names = ["object", "action", "time"]
        if group.impressions:
            names += ["candidate", "candidate_time", "label", *schema.place_columns(group.name)]
        features |= {f"{group.name}/{name}": several for name in names}
    return with_targets(tf.io.parse_example(records, features), schema)


def with_targets(block: Block, schema: Schema) -> Block:
    """Adds to a block what is predicted, in the order of its groups' events.

    Returns:
        The block and of each target `target/NAME/time`, `/object`, and `/action`, or of logged
        candidates `/label` and, where they were logged, `/list` and `/position`: int64 [users,
        (targets)].

    Example:

    >>> item = Group("item", actions=("view", "buy"), target_actions=("buy",))
    >>> block = {"item/action": tf.ragged.constant([[1, 2, 2], [1]], tf.int64)}
    >>> block |= {f"item/{name}": block["item/action"] for name in ("time", "object")}
    >>> with_targets(block, Schema((item,), ("item",)))["target/item/action"].to_list()
    [[2, 2], []]
    """
    block = dict(block)
    for name in schema.target_names:
        target, group = schema.target(name), schema.target_group(name)
        if group.impressions:
            bit = schema.label_columns(group.name).index(target.label)
            labels = block[f"{group.name}/label"]
            shifted = tf.bitwise.right_shift(labels.flat_values, tf.constant(bit, tf.int64))
            of_target = ragged.like(labels, tf.bitwise.bitwise_and(shifted, 1))
            columns = {
                "time": block[f"{group.name}/candidate_time"],
                "object": block[f"{group.name}/candidate"],
                "label": of_target,
                **{n: block[f"{group.name}/{n}"] for n in schema.place_columns(group.name)},
            }
        else:
            columns = {
                n: block[f"{group.name}/{n}"] for n in _EVENT if f"{group.name}/{n}" in block
            }
            if target.actions:
                indices = [1 + group.actions.index(action) for action in target.actions]
                columns = _of_actions(columns, indices)
        block |= {f"target/{name}/{column}": values for column, values in columns.items()}
    return block


def _of_actions(
    columns: dict[str, tf.RaggedTensor], actions: Sequence[int]
) -> dict[str, tf.RaggedTensor]:
    """The events of some actions."""
    taken = columns["action"]
    is_of = tf.reduce_any(
        taken.flat_values[:, tf.newaxis] == tf.constant(actions, tf.int64), axis=1
    )
    rows = tf.boolean_mask(ragged.row_ids(taken), is_of)
    return {
        name: ragged.from_value_rowids(
            tf.boolean_mask(values.flat_values, is_of), rows, nrows=taken.nrows(), validate=False
        )
        for name, values in columns.items()
    }


def target_times(block: Block, target: str) -> tf.RaggedTensor:
    """Returns the times of what is predicted, int64 [users, (targets)].

    Example:

    >>> block = {"item/time": tf.ragged.constant([[10, 20]], tf.int64)}
    >>> block = with_targets(block, Schema((Group("item"),), ("item",)))
    >>> target_times(block, "item").to_list()
    [[10, 20]]
    """
    return block[f"target/{target}/time"]


def time_keys(times: tf.RaggedTensor) -> tf.Tensor:
    """One number for the user's position in the block and the time; it sorts as the pair does.

    Example:

    >>> keys = time_keys(tf.ragged.constant([[10, 20], [5]], tf.int64))
    >>> key_user(keys).numpy().tolist(), key_time(keys).numpy().tolist()
    ([0, 0, 1], [10, 20, 5])
    """
    return time_key(ragged.row_ids(times), times.flat_values)


def time_key(users: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """The key of users' positions in the block and times, as `time_keys` has it.

    Example:

    >>> int(key_time(time_key(tf.constant([3], tf.int64), tf.constant([20], tf.int64)))[0])
    20
    """
    return tf.bitwise.left_shift(users, tf.constant(_TIME_BITS, tf.int64)) + times


def key_user(keys: tf.Tensor) -> tf.Tensor:
    """The user's position in the block, of what `time_keys` returned.

    Example:

    >>> key_user(time_keys(tf.ragged.constant([[10, 20], [5]], tf.int64))).numpy().tolist()
    [0, 0, 1]
    """
    return tf.bitwise.right_shift(keys, _TIME_BITS)


def key_time(keys: tf.Tensor) -> tf.Tensor:
    """The time in what `time_keys` returned.

    Example:

    >>> key_time(time_keys(tf.ragged.constant([[10, 20], [5]], tf.int64))).numpy().tolist()
    [10, 20, 5]
    """
    return tf.bitwise.bitwise_and(keys, tf.constant(_TIME_MASK, tf.int64))


def is_new(values: tf.Tensor) -> tf.Tensor:
    """Whether each of the sorted values differs from the one before it.

    Example:

    >>> is_new(tf.constant([3, 3, 5])).numpy().tolist()
    [True, False, True]
    """
    return tf.concat([tf.ones_like(values[:1], tf.bool), values[1:] != values[:-1]], axis=0)


def equal_ranges(sorted_values: tf.Tensor, wanted: tf.Tensor) -> Range:
    """Where the values that equal each wanted one start and end.

    Example:

    >>> starts, limits = equal_ranges(tf.constant([3, 3, 5]), tf.constant([3, 4, 5]))
    >>> starts.numpy().tolist(), limits.numpy().tolist()
    ([0, 2, 2], [2, 2, 3])
    """
    return (
        tf.searchsorted(sorted_values, wanted, side="left", out_type=tf.int64),
        tf.searchsorted(sorted_values, wanted, side="right", out_type=tf.int64),
    )


def history_ranges(
    block: Block, schema: Schema, max_history: int, query_keys: tf.Tensor
) -> dict[str, Range]:
    """Where the newest events of each group strictly before each query stand.

    Args:
        block: The block.
        schema: The schema.
        max_history: Events of each group at most.
        query_keys: Users and query times, as `time_keys` has them: int64 [queries].

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> block = {"item/time": tf.ragged.constant([[10, 20, 30, 30]], tf.int64)}
    >>> query_keys = time_keys(tf.ragged.constant([[30]], tf.int64))
    >>> start, limit = history_ranges(block, schema, 1, query_keys)["item"]
    >>> int(start[0]), int(limit[0])  # The event at 20.
    (1, 2)
    """
    history = {}
    for group in schema.groups:
        times = block[f"{group.name}/time"]
        limits = tf.searchsorted(time_keys(times), query_keys, side="left", out_type=tf.int64)
        starts = tf.gather(times.row_starts(), key_user(query_keys))
        history[group.name] = (tf.maximum(starts, limits - max_history), limits)
    return history


def position_in_query(times: tf.RaggedTensor) -> tf.Tensor:
    """Each event's position among its user's events of the same time: 0, 1 ..., flat.

    Example:

    >>> position_in_query(tf.ragged.constant([[10, 20, 20], [20]], tf.int64)).numpy().tolist()
    [0, 0, 1, 0]
    """
    query_keys = time_keys(times)
    first = tf.searchsorted(query_keys, query_keys, out_type=tf.int64)
    return tf.range(tf.shape(query_keys, tf.int64)[0]) - first


def in_split(block: Block, times: tf.RaggedTensor, split: str) -> tf.Tensor:
    """Whether each time lies in a split of its user: bool, flat.

    Example:

    >>> block = {"validation_start": tf.constant([20]), "test_start": tf.constant([30])}
    >>> in_split(block, tf.ragged.constant([[10, 20, 30]]), "validation").numpy().tolist()
    [False, True, False]
    """
    users = ragged.row_ids(times)
    validation_start = tf.gather(block["validation_start"], users)
    test_start = tf.gather(block["test_start"], users)
    t = times.flat_values
    return {
        "train": t < validation_start,
        "validation": tf.logical_and(t >= validation_start, t < test_start),
        "test": t >= test_start,
    }[split]


def pool_size(group: Group, split: str) -> int:
    """How many objects negatives are drawn from.

    In training those that training saw; in evaluation all that were ever logged.

    Example:

    >>> group = Group("item", num_trained=40, num_logged=50)
    >>> pool_size(group, "train"), pool_size(group, "test")
    (40, 50)
    """
    return group.num_trained if split == "train" else group.num_logged
