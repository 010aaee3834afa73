"""Rows of batches: the moments, or the windows, that are cut out of timelines.

A row is a user with a range of events of each group, its history, and a range of targets
of each target group. Rows of like length are packed into batches together.
"""

import dataclasses
import math
from typing import Any

import tensorflow as tf

from atrank_tf.schema import Schema
from data_pipeline.chunk import (
    Chunk,
    in_split,
    is_new,
    key_time,
    key_user,
    keys,
    place_in_moment,
    target_features,
    touched,
)

# Room for the number of a window in a key that also holds a user's place in the chunk.
_WINDOW_BITS = 40
_NO_WINDOW = (1 << _WINDOW_BITS) - 1

# The key of an event that is not there to be seen; it sorts behind all others.
_NEVER = tf.int64.max

Range = tuple[tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Cut:
    """How rows are cut out of timelines.

    Attributes:
        split: "train", "validation" or "test".
        num_negatives: Sampled for each positive ("train") or for each moment (else);
            none are where the targets are labelled.
        max_history: Newest behaviours of each group that a moment's history keeps; in
            windows, behaviours of all groups together.
        token_budget: Behaviours and candidates in a batch, about.
        max_moments: Moments that a user contributes, chosen at random; None for all.
        all_positions: Whether rows are windows of the timeline instead of moments.
    """

    split: str
    num_negatives: int
    max_history: int
    token_budget: int
    max_moments: int | None = None
    all_positions: bool = False


def find_rows(chunk: Chunk, schema: Schema, cut: Cut, seed: tf.Tensor) -> Chunk:
    """Adds to a chunk of timelines its rows, packed into batches.

    Args:
        chunk: What `parse_timelines` returned.
        schema: The schema.
        cut: How to cut.
        seed: Two integers.

    Returns:
        The chunk with `rows`: `batch` (ascending), the `user`'s place in the chunk, for
        each group of `history` and each target group of `targets` where the row's range
        starts and ends in the flat features, and of moments the `time`: int64 [rows];
        and, for each target group whose negatives are sampled, `GROUP/touched` by user,
        and `GROUP/place`, each event's place among those of its moment.
    """
    find = _windows if cut.all_positions else _moments
    rows = find(chunk, schema, cut, seed)
    lengths = tf.add_n([limits - starts for starts, limits in rows["history"].values()])
    counts = tf.zeros_like(lengths)
    for target, (starts, limits) in rows["targets"].items():
        targets = limits - starts
        labelled = bool(schema.group(target).impressions)
        counts += targets if labelled else num_candidates(targets, cut)
    order = _batch_order(lengths, counts, cut.split == "train", seed + 1)
    # A row costs something even without a history: no batch gets endless rows.
    sizes = tf.gather(tf.maximum(lengths + counts, cut.token_budget // 512), order)
    filled = tf.cumsum(sizes) // cut.token_budget
    rows = tf.nest.map_structure(lambda column: tf.gather(column, order), rows)
    chunk = chunk | {"rows": rows | {"batch": tf.cumsum(tf.cast(is_new(filled), tf.int64)) - 1}}
    for target in schema.targets:
        if not schema.group(target).impressions:
            chunk[f"{target}/touched"] = touched(chunk, schema.group(target), cut.split)
            chunk[f"{target}/place"] = place_in_moment(chunk[f"{target}/time"])
    return chunk


def num_batches(chunk: Chunk) -> tf.Tensor:
    """Returns how many batches the rows of a chunk were packed into."""
    return tf.reduce_max(tf.concat([[-1], chunk["rows"]["batch"]], axis=0)) + 1


def num_candidates(positives: tf.Tensor, cut: Cut) -> tf.Tensor:
    """How many candidates a row has with so many positives; none without a positive."""
    if cut.split == "train":
        return positives * (1 + cut.num_negatives)
    return tf.where(positives > 0, positives + cut.num_negatives, 0)


def _moments(chunk: Chunk, schema: Schema, cut: Cut, seed: tf.Tensor) -> dict[str, Any]:
    """A row for each moment of a user's targets; its history came strictly before it."""
    parts = []
    for target in schema.targets:
        times = chunk[target_features(schema.group(target))[0]]
        parts.append(tf.boolean_mask(keys(times), in_split(chunk, times, cut.split)))
    moments = tf.sort(tf.concat(parts, axis=0))
    moments = tf.boolean_mask(moments, is_new(moments))
    if cut.max_moments is not None:
        moments = _choose(moments, cut.max_moments, seed)
    users = key_user(moments)
    history = {}
    for group in schema.groups:
        times = chunk[f"{group.name}/time"]
        limits = tf.searchsorted(keys(times), moments, side="left", out_type=tf.int64)
        newest = tf.maximum(tf.gather(times.row_starts(), users), limits - cut.max_history)
        history[group.name] = (newest, limits)
    return {
        "user": users,
        "time": key_time(moments),
        "history": history,
        "targets": {
            target: _range(keys(chunk[target_features(schema.group(target))[0]]), moments)
            for target in schema.targets
        },
    }


def _windows(chunk: Chunk, schema: Schema, cut: Cut, seed: tf.Tensor) -> dict[str, Any]:
    """A row for each stretch of `max_history` events of a user's training period.

    Where the first stretch of a longer timeline ends is random, so that they differ from
    epoch to epoch. Targets at the very start of a later stretch are left out: they would
    teach that nothing came before.
    """
    all_times = {group.name: chunk[f"{group.name}/time"] for group in schema.groups}
    is_train = {name: in_split(chunk, times, "train") for name, times in all_times.items()}
    joined = tf.concat([tf.where(is_train[n], keys(t), _NEVER) for n, t in all_times.items()], 0)
    order = tf.argsort(joined, stable=True)
    events = tf.gather(joined, order)  # The chunk's training events by user and time.
    places = tf.split(
        tf.cast(tf.math.invert_permutation(order), tf.int64),
        [tf.size(mask) for mask in is_train.values()],
    )
    users = tf.range(tf.shape(chunk["user_row"], tf.int64)[0])
    starts, limits = _range(key_user(events), users)
    offsets = tf.random.stateless_uniform(tf.shape(users), seed, 0, cut.max_history, tf.int64)
    origins = starts - tf.where(limits - starts > cut.max_history, offsets, 0)

    def windows(users: tf.Tensor, places: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """The window that each place is in, as a key of the user and the window's number."""
        number = (places - tf.gather(origins, users)) // cut.max_history
        number = tf.where(mask, number, _NO_WINDOW)
        return tf.bitwise.left_shift(users, _WINDOW_BITS) + number

    of_events = {
        name: windows(times.value_rowids(), mine, is_train[name])
        for (name, times), mine in zip(all_times.items(), places, strict=True)
    }
    of_targets = {}
    for target in schema.targets:
        of_targets[target] = of_events[target]
        if schema.group(target).impressions:
            # A candidate belongs to the window of the last event before it.
            times = chunk[target_features(schema.group(target))[0]]
            before = tf.searchsorted(events, keys(times), out_type=tf.int64) - 1
            first = tf.gather(starts, times.value_rowids())
            of_targets[target] = windows(
                times.value_rowids(), tf.maximum(before, first), in_split(chunk, times, "train")
            )
    found = tf.sort(tf.concat(list(of_targets.values()), axis=0))
    number = tf.bitwise.bitwise_and(found, _NO_WINDOW)
    found = tf.boolean_mask(found, tf.logical_and(is_new(found), number != _NO_WINDOW))
    users = tf.bitwise.right_shift(found, _WINDOW_BITS)

    place = tf.gather(origins, users) + tf.bitwise.bitwise_and(found, _NO_WINDOW) * cut.max_history
    is_later = place > tf.gather(starts, users)
    opening = tf.where(is_later, tf.gather(events, tf.where(is_later, place, 0)), -1)
    targets = {}
    for target, mine in of_targets.items():
        first, limit = _range(mine, found)
        moments = keys(chunk[target_features(schema.group(target))[0]])
        after = tf.searchsorted(moments, opening, side="right", out_type=tf.int64)
        targets[target] = (tf.minimum(tf.maximum(first, after), limit), limit)
    return {
        "user": users,
        "history": {name: _range(mine, found) for name, mine in of_events.items()},
        "targets": targets,
    }


def _range(sorted_values: tf.Tensor, wanted: tf.Tensor) -> Range:
    """Where the values that equal each wanted one start and end."""
    return (
        tf.searchsorted(sorted_values, wanted, side="left", out_type=tf.int64),
        tf.searchsorted(sorted_values, wanted, side="right", out_type=tf.int64),
    )


def _batch_order(
    lengths: tf.Tensor, counts: tf.Tensor, is_training: bool, seed: tf.Tensor
) -> tf.Tensor:
    """The order in which rows fill batches: like lengths together, then like counts.

    Lengths are alike within some 15%. In training, noise on where one class ends and on
    the counts lets ever new rows meet.
    """
    noise = tf.random.stateless_uniform([2, tf.shape(lengths)[0]], seed)
    if not is_training:
        noise = tf.zeros_like(noise)
    grid = tf.floor(5 * tf.math.log(tf.cast(lengths, tf.float32) + 1) / math.log(2.0) + noise[0])
    within = tf.math.log(tf.cast(counts, tf.float32) + 1) + 0.1 * noise[1]
    # The logarithm of a count stays below 64.
    return tf.argsort(64 * grid + within, stable=True)


def _choose(moments: tf.Tensor, limit: int, seed: tf.Tensor) -> tf.Tensor:
    """Keeps at most `limit` of each user's moments, chosen at random."""
    shuffled = tf.random.experimental.stateless_shuffle(moments, seed)
    users = key_user(shuffled)
    order = tf.argsort(users, stable=True)
    users = tf.gather(users, order)
    rank = tf.range(tf.shape(users)[0]) - tf.searchsorted(users, users, side="left")
    return tf.sort(tf.gather(shuffled, tf.boolean_mask(order, rank < limit)))
