"""Rows of batches: the moments, or the stretches, that are cut out of timelines.

A row is a user with a range of events of each group, its history, and a range of targets
of each target group. Rows of like length are packed into batches together.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.schema import Schema
from data_pipeline.chunk import (
    Chunk,
    in_split,
    is_new,
    key_time,
    key_user,
    keys,
    target_features,
)

# Room for the number of a stretch in a key that also holds a user's place in the chunk.
_STRETCH_BITS = 40
_NO_STRETCH = (1 << _STRETCH_BITS) - 1

# The key of a target of another split; it sorts behind all others.
_NEVER = tf.int64.max

Range = tuple[tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Cut:
    """How rows are cut out of timelines.

    Attributes:
        split: "train", "validation" or "test".
        num_negatives: Sampled for each positive ("train") or for each moment (else);
            none are where the targets are labelled.
        max_history: Newest behaviours of each group that a history keeps.
        token_budget: Behaviours and candidates in a batch, about.
        max_moments: Moments that a user contributes, chosen at random; None for all.
        all_positions: Whether a row has a stretch of targets instead of those of a moment.
        single_target: Whether a row, and a batch, has targets of one group alone.
        target_weights: Weight in the loss of each target group; None for no weights.
    """

    split: str
    num_negatives: int
    max_history: int
    token_budget: int
    max_moments: int | None = None
    all_positions: bool = False
    single_target: bool = False
    target_weights: Mapping[str, float] | None = None


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
        starts and ends in the flat features, and of moments the `time`: int64 [rows].
    """
    find = _stretches if cut.all_positions else _moments
    kinds = [(target,) for target in schema.targets] if cut.single_target else [schema.targets]
    parts = []
    for number, targets in enumerate(kinds):
        part = find(chunk, dataclasses.replace(schema, targets=targets), cut, seed)
        nothing = tf.zeros_like(part["user"])
        ranges = {
            target: part["targets"].get(target, (nothing, nothing)) for target in schema.targets
        }
        parts.append(part | {"targets": ranges, "kind": nothing + number})
    rows = tf.nest.map_structure(lambda *columns: tf.concat(columns, axis=0), *parts)
    lengths = tf.add_n([limits - starts for starts, limits in rows["history"].values()])
    counts = tf.zeros_like(lengths)
    for target, (starts, limits) in rows["targets"].items():
        targets = limits - starts
        labelled = bool(schema.group(target).impressions)
        counts += targets if labelled else num_candidates(targets, cut)
    order = _batch_order(lengths, counts, cut.split == "train", seed + 1)
    order = tf.gather(order, tf.argsort(tf.gather(rows["kind"], order), stable=True))
    # A row costs something even without a history: no batch gets endless rows.
    sizes = tf.gather(tf.maximum(lengths + counts, cut.token_budget // 512), order)
    filled = tf.cumsum(sizes) // cut.token_budget
    rows = tf.nest.map_structure(lambda column: tf.gather(column, order), rows)
    begins = tf.logical_or(is_new(filled), is_new(rows.pop("kind")))
    return chunk | {"rows": rows | {"batch": tf.cumsum(tf.cast(begins, tf.int64)) - 1}}


def num_batches(chunk: Chunk) -> tf.Tensor:
    """Returns how many batches the rows of a chunk were packed into."""
    return tf.reduce_max(tf.concat([[-1], chunk["rows"]["batch"]], axis=0)) + 1


def num_candidates(positives: tf.Tensor, cut: Cut) -> tf.Tensor:
    """How many candidates a row has with so many positives; none without a positive."""
    if cut.split == "train":
        return positives * (1 + cut.num_negatives)
    return tf.where(positives > 0, positives + cut.num_negatives, 0)


def _moments(chunk: Chunk, schema: Schema, cut: Cut, seed: tf.Tensor) -> dict[str, Any]:
    """A row for each moment of a user's targets."""
    parts = []
    for target in schema.targets:
        times = chunk[target_features(schema.group(target))[0]]
        parts.append(tf.boolean_mask(keys(times), in_split(chunk, times, cut.split)))
    moments = tf.sort(tf.concat(parts, axis=0))
    moments = tf.boolean_mask(moments, is_new(moments))
    if cut.max_moments is not None:
        moments = _choose(moments, cut.max_moments, seed)
    return {
        "user": key_user(moments),
        "time": key_time(moments),
        "history": _history(chunk, schema, cut.max_history, moments),
        "targets": {
            target: _range(keys(chunk[target_features(schema.group(target))[0]]), moments)
            for target in schema.targets
        },
    }


def _stretches(chunk: Chunk, schema: Schema, cut: Cut, seed: tf.Tensor) -> dict[str, Any]:
    """A row for each stretch of a user's training period that has targets.

    A stretch is at most half as many behaviours and targets as a history has behaviours of a
    group. Its first target sees at least the newest half of a history and its last one all of
    it, whatever shares their moments. Where the first stretch ends is random, so that
    stretches differ from epoch to epoch.
    """
    size = max(1, cut.max_history // 2)
    features = {target: target_features(schema.group(target))[0] for target in schema.targets}
    times = {
        name: chunk[name]
        for name in (*(f"{group.name}/time" for group in schema.groups), *features.values())
    }
    is_train = {name: in_split(chunk, each, "train") for name, each in times.items()}
    joined = tf.concat([tf.where(is_train[n], keys(each), _NEVER) for n, each in times.items()], 0)
    order = tf.argsort(joined, stable=True)
    moments = tf.gather(joined, order)
    places = tf.split(
        tf.cast(tf.math.invert_permutation(order), tf.int64),
        [tf.size(mask) for mask in is_train.values()],
    )
    users = tf.range(tf.shape(chunk["user_row"], tf.int64)[0])
    starts, limits = _range(key_user(moments), users)
    offsets = tf.random.stateless_uniform(tf.shape(users), seed, 0, size, tf.int64)
    origins = starts - tf.where(limits - starts > size, offsets, 0)

    stretches = {}
    for (name, each), mine in zip(times.items(), places, strict=True):
        number = (mine - ragged.per_value(each, origins)) // size
        number = tf.where(is_train[name], number, _NO_STRETCH)
        stretches[name] = tf.bitwise.left_shift(ragged.row_ids(each), _STRETCH_BITS) + number
    found = tf.sort(tf.concat([stretches[name] for name in features.values()], axis=0))
    has_targets = tf.bitwise.bitwise_and(found, _NO_STRETCH) != _NO_STRETCH
    found = tf.boolean_mask(found, tf.logical_and(is_new(found), has_targets))
    targets = {target: _range(stretches[name], found) for target, name in features.items()}
    first, last = tf.fill(tf.shape(found), _NEVER), tf.zeros_like(found)
    for target, (start, limit) in targets.items():
        moments = tf.concat([keys(times[features[target]]), [0]], axis=0)
        is_there = limit > start
        first = tf.where(is_there, tf.minimum(first, tf.gather(moments, start)), first)
        last = tf.where(
            is_there, tf.maximum(last, tf.gather(moments, tf.maximum(limit - 1, 0))), last
        )
    half = _history(chunk, schema, cut.max_history - size, first)
    whole = _history(chunk, schema, cut.max_history, last)
    return {
        "user": tf.bitwise.right_shift(found, _STRETCH_BITS),
        "history": {
            name: (tf.minimum(half[name][0], start), limit)
            for name, (start, limit) in whole.items()
        },
        "targets": targets,
    }


def _history(
    chunk: Chunk, schema: Schema, max_history: int, moments: tf.Tensor
) -> dict[str, Range]:
    """Where the newest behaviours of each group strictly before each moment stand."""
    history = {}
    for group in schema.groups:
        times = chunk[f"{group.name}/time"]
        limits = tf.searchsorted(keys(times), moments, side="left", out_type=tf.int64)
        starts = tf.gather(times.row_starts(), key_user(moments))
        history[group.name] = (tf.maximum(starts, limits - max_history), limits)
    return history


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
