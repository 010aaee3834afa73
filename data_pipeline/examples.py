"""Examples cut out of timelines: at each moment of a target, what came strictly before it.

All of it is whole-array work on a chunk of users: nothing here runs per user or per event.
"""

import dataclasses
import math
from typing import Any

import tensorflow as tf

from atrank_tf.schema import Group, Schema
from data_pipeline import negatives

Chunk = dict[str, Any]

# Room for a time in a key that also holds a user's place in the chunk: until the year
# 2248 in milliseconds.
_TIME_BITS = 43
_TIME_MASK = (1 << _TIME_BITS) - 1


@dataclasses.dataclass(frozen=True)
class Cut:
    """How examples are cut out of timelines.

    Attributes:
        split: "train", "validation" or "test".
        num_negatives: Sampled for each positive ("train") or for each moment (else);
            none are where the targets are labelled.
        max_history: Newest behaviours of each group that a history keeps.
        token_budget: Behaviours and candidates in a batch, about.
        max_moments: Moments that a user contributes, chosen at random; None for all.
    """

    split: str
    num_negatives: int
    max_history: int
    token_budget: int
    max_moments: int | None = None


def parse_timelines(records: tf.Tensor, schema: Schema) -> Chunk:
    """Parses serialised timelines, string [users], into ragged int64 features."""
    several = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    scalar = tf.io.FixedLenFeature([], tf.int64)
    features: dict[str, Any] = dict.fromkeys(("user_row", "validation_start", "test_start"), scalar)
    for group in schema.groups:
        names = ["object", "action", "time"]
        if group.impressions:
            names += ["candidate", "candidate_time", "label"]
        features |= {f"{group.name}/{name}": several for name in names}
    return tf.io.parse_example(records, features)


def find_moments(chunk: Chunk, schema: Schema, cut: Cut, seed: tf.Tensor) -> Chunk:
    """Adds to a chunk of timelines the moments to predict, sorted into batches.

    Args:
        chunk: What `parse_timelines` returned.
        schema: The schema.
        cut: How to cut.
        seed: Two integers.

    Returns:
        The chunk with, for each moment, its `key` (user's place in the chunk and time in
        one number) and `batch` (ascending): int64 [moments]; and for each target group
        whose negatives are sampled, `GROUP/touched`: what each user touched.
    """
    parts = []
    for target in schema.targets:
        times = chunk[_target_features(schema.group(target))[0]]
        parts.append(tf.boolean_mask(_keys(times), _in_split(chunk, times, cut.split)))
    keys = tf.sort(tf.concat(parts, axis=0))
    keys = tf.boolean_mask(keys, _is_new(keys))
    if cut.max_moments is not None:
        keys = _choose(keys, cut.max_moments, seed)

    lengths = tf.zeros_like(keys)
    for group in schema.groups:
        starts, limits = _history_range(chunk, group, keys, cut.max_history)
        lengths += limits - starts
    counts = tf.zeros_like(keys)
    for target in schema.targets:
        group = schema.group(target)
        starts, limits = _target_range(chunk, group, keys)
        counts += limits - starts if group.impressions else _num_candidates(limits - starts, cut)
    order = _batch_order(lengths, counts, cut.split == "train", seed + 1)
    # A moment costs something even without a history: no batch gets endless rows.
    sizes = tf.gather(tf.maximum(lengths + counts, cut.token_budget // 512), order)
    filled = tf.cumsum(sizes) // cut.token_budget
    chunk = chunk | {
        "key": tf.gather(keys, order),
        "batch": tf.cumsum(tf.cast(_is_new(filled), tf.int64)) - 1,
    }
    for target in schema.targets:
        if not schema.group(target).impressions:
            chunk[f"{target}/touched"] = _touched(chunk, schema.group(target), cut.split)
    return chunk


def num_batches(chunk: Chunk) -> tf.Tensor:
    """Returns how many batches the moments of a chunk were sorted into."""
    return tf.reduce_max(tf.concat([[-1], chunk["batch"]], axis=0)) + 1


def make_batch(
    chunk: Chunk, index: tf.Tensor, schema: Schema, cut: Cut, seed: tf.Tensor
) -> tuple[dict[str, Any], tf.Tensor]:
    """Makes one batch of examples from a chunk.

    Args:
        chunk: What `find_moments` returned.
        index: Which batch.
        schema: The schema.
        cut: How to cut.
        seed: Two integers, of the epoch: a moment's negatives hang on it and on the
            user, the time and the target, not on the batch.

    Returns:
        A batch as `atrank_tf.Ranker` takes it, and the labels, float32 [candidates]: for
        each target group in turn, row after row. In training a positive stands
        before its own negatives; otherwise a moment's positives before its negatives.
    """
    first = tf.searchsorted(chunk["batch"], index[tf.newaxis])[0]
    last = tf.searchsorted(chunk["batch"], index[tf.newaxis], side="right")[0]
    keys = chunk["key"][first:last]
    users = tf.bitwise.right_shift(keys, _TIME_BITS)
    history = {}
    for group in schema.groups:
        events = tf.ragged.range(*_history_range(chunk, group, keys, cut.max_history))
        history[group.name] = {
            name: events.with_flat_values(
                tf.gather(chunk[f"{group.name}/{name}"].flat_values, events.flat_values)
            )
            for name in ("object", "action", "time")
        }
    candidates = {}
    labels = []
    for i, target in enumerate(schema.targets):
        candidates[target], label = _candidates(
            chunk, schema.group(target), keys, users, cut, tf.concat([seed, [i]], axis=0)
        )
        labels.append(label)
    inputs = {
        "user": tf.gather(chunk["user_row"], users),
        "now": _times(keys),
        "history": history,
        "candidates": candidates,
    }
    return inputs, tf.concat(labels, axis=0)


def _batch_order(
    lengths: tf.Tensor, counts: tf.Tensor, is_training: bool, seed: tf.Tensor
) -> tf.Tensor:
    """The order in which moments fill batches: like lengths together, then like counts.

    Lengths are alike within some 15%. In training, noise on where one class ends and on
    the counts lets ever new moments meet.
    """
    noise = tf.random.stateless_uniform([2, tf.shape(lengths)[0]], seed)
    if not is_training:
        noise = tf.zeros_like(noise)
    grid = tf.floor(5 * tf.math.log(tf.cast(lengths, tf.float32) + 1) / math.log(2.0) + noise[0])
    within = tf.math.log(tf.cast(counts, tf.float32) + 1) + 0.1 * noise[1]
    # The logarithm of a count stays below 64.
    return tf.argsort(64 * grid + within, stable=True)


def _is_new(values: tf.Tensor) -> tf.Tensor:
    """Whether each of the sorted values differs from the one before it."""
    return tf.concat([tf.ones_like(values[:1], tf.bool), values[1:] != values[:-1]], axis=0)


def _candidates(
    chunk: Chunk, group: Group, keys: tf.Tensor, users: tf.Tensor, cut: Cut, seed: tf.Tensor
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    targets = tf.ragged.range(*_target_range(chunk, group, keys))
    _, object_feature = _target_features(group)
    objects = targets.with_flat_values(
        tf.gather(chunk[object_feature].flat_values, targets.flat_values)
    )
    if group.impressions:
        labels = tf.gather(chunk[f"{group.name}/label"].flat_values, targets.flat_values)
        return objects, tf.cast(labels, tf.float32)

    touched = chunk[f"{group.name}/touched"]
    pool = _pool(group, cut.split)
    is_left = tf.gather(negatives.num_untouched(touched, pool) > 0, users)
    positives = objects.row_lengths()
    wanted = _num_candidates(positives, cut) - positives
    if cut.split != "train":
        wanted = tf.minimum(wanted, tf.gather(negatives.num_untouched(touched, pool), users))
    drawn = tf.ragged.range(tf.where(is_left, wanted, 0))
    moments = drawn.value_rowids()
    rows = tf.gather(users, moments)
    moment = (tf.gather(chunk["user_row"], rows), tf.gather(_times(keys), moments))
    order = negatives.random_numbers(*tf.unstack(seed), *moment)
    sampled = group.num_oov + negatives.sample_untouched(
        touched, pool, rows, drawn.flat_values, order
    )
    if cut.split == "train":
        # One row a positive for now: the positive, then its own negatives.
        each = tf.where(tf.gather(is_left, objects.value_rowids()), cut.num_negatives, 0)
        heads = tf.RaggedTensor.from_uniform_row_length(objects.flat_values, 1)
        row_lengths = tf.where(is_left, wanted, 0) + positives
    else:
        each = tf.where(is_left, wanted, 0)
        heads = objects
        row_lengths = each + positives
    tails = tf.RaggedTensor.from_row_lengths(sampled, tf.cast(each, tf.int64), validate=False)
    both = tf.concat([heads, tails], axis=1)
    labels = tf.concat([tf.ones_like(heads), tf.zeros_like(tails)], axis=1)
    joined = tf.RaggedTensor.from_row_lengths(both.flat_values, row_lengths, validate=False)
    return joined, tf.cast(labels.flat_values, tf.float32)


def _num_candidates(positives: tf.Tensor, cut: Cut) -> tf.Tensor:
    """How many candidates a moment has with so many positives; none without a positive."""
    if cut.split == "train":
        return positives * (1 + cut.num_negatives)
    return tf.where(positives > 0, positives + cut.num_negatives, 0)


def _pool(group: Group, split: str) -> int:
    """Training draws from what training saw; evaluation from all that was ever logged."""
    return group.num_trained if split == "train" else group.num_logged


def _touched(chunk: Chunk, group: Group, split: str) -> tf.RaggedTensor:
    objects = chunk[f"{group.name}/object"]
    known = objects.flat_values - group.num_oov
    keep = tf.logical_and(known >= 0, known < _pool(group, split))
    if split == "train":
        keep = tf.logical_and(keep, _in_split(chunk, chunk[f"{group.name}/time"], "train"))
    mask = objects.with_flat_values(keep)
    return negatives.distinct_objects(tf.ragged.boolean_mask(objects.with_flat_values(known), mask))


def _target_features(group: Group) -> tuple[str, str]:
    names = ("candidate_time", "candidate") if group.impressions else ("time", "object")
    return f"{group.name}/{names[0]}", f"{group.name}/{names[1]}"


def _keys(times: tf.RaggedTensor) -> tf.Tensor:
    """One number for the user's place in the chunk and the time; it sorts as the pair does."""
    return tf.bitwise.left_shift(times.value_rowids(), _TIME_BITS) + times.flat_values


def _times(keys: tf.Tensor) -> tf.Tensor:
    """The time in what `_keys` returned."""
    return tf.bitwise.bitwise_and(keys, tf.constant(_TIME_MASK, tf.int64))


def _in_split(chunk: Chunk, times: tf.RaggedTensor, split: str) -> tf.Tensor:
    row_ids = times.value_rowids()
    validation_start = tf.gather(chunk["validation_start"], row_ids)
    test_start = tf.gather(chunk["test_start"], row_ids)
    t = times.flat_values
    return {
        "train": t < validation_start,
        "validation": tf.logical_and(t >= validation_start, t < test_start),
        "test": t >= test_start,
    }[split]


def _history_range(
    chunk: Chunk, group: Group, keys: tf.Tensor, max_history: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the newest events strictly before each moment stand in the flat features."""
    times = chunk[f"{group.name}/time"]
    limits = tf.searchsorted(_keys(times), keys, side="left", out_type=tf.int64)
    users = tf.bitwise.right_shift(keys, _TIME_BITS)
    return tf.maximum(tf.gather(times.row_starts(), users), limits - max_history), limits


def _target_range(chunk: Chunk, group: Group, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the targets of each moment stand in the flat features."""
    sorted_keys = _keys(chunk[_target_features(group)[0]])
    starts = tf.searchsorted(sorted_keys, keys, side="left", out_type=tf.int64)
    return starts, tf.searchsorted(sorted_keys, keys, side="right", out_type=tf.int64)


def _choose(keys: tf.Tensor, limit: int, seed: tf.Tensor) -> tf.Tensor:
    """Keeps at most `limit` of each user's moments, chosen at random."""
    shuffled = tf.random.experimental.stateless_shuffle(keys, seed)
    users = tf.bitwise.right_shift(shuffled, _TIME_BITS)
    order = tf.argsort(users, stable=True)
    users = tf.gather(users, order)
    rank = tf.range(tf.shape(users)[0]) - tf.searchsorted(users, users, side="left")
    return tf.sort(tf.gather(shuffled, tf.boolean_mask(order, rank < limit)))
