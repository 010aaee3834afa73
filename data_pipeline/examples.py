"""Batches of examples, made of the rows that were cut out of timelines.

All of it is whole-array work on a chunk or a batch: nothing here runs per user or per event.
"""

import zlib
from typing import Any

import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.schema import Group, Schema
from data_pipeline import negatives
from data_pipeline.chunk import Chunk, in_split, place_in_moment, pool, target_features
from data_pipeline.rows import Cut


def prepare_negatives(chunk: Chunk, schema: Schema, split: str) -> Chunk:
    """Adds to a chunk what its batches share in drawing negatives.

    Returns:
        The chunk and, for each target group whose negatives are sampled, `GROUP/untouched`,
        what `negatives.untouched_bounds` returned, and `GROUP/place`, each event's place
        among those of its moment.
    """
    prepared = dict(chunk)
    for target in schema.targets:
        if not schema.group(target).impressions:
            touched = _touched(chunk, schema.group(target), split)
            prepared[f"{target}/untouched"] = negatives.untouched_bounds(touched)
            prepared[f"{target}/place"] = place_in_moment(chunk[f"{target}/time"])
    return prepared


def make_batch(
    chunk: Chunk, index: tf.Tensor, schema: Schema, cut: Cut, seed: tf.Tensor
) -> tuple[dict[str, Any], tf.Tensor] | tuple[dict[str, Any], tf.Tensor, tf.Tensor]:
    """Makes one batch of examples from a chunk.

    Args:
        chunk: What `find_rows` returned, with what `prepare_negatives` adds.
        index: Which batch.
        schema: The schema.
        cut: How to cut.
        seed: Two integers, of the epoch: a moment's negatives hang on it and on the
            user, the time and the target, not on the batch.

    Returns:
        A batch as `atrank_tf.Ranker` takes it, and the labels, float32 [candidates]: for
        each target group in turn, row after row. In training a positive stands
        before its own negatives; otherwise a moment's positives before its negatives. Where
        the cut has weights, the weight of each candidate, too.
    """
    number = chunk["rows"]["batch"]
    first = tf.searchsorted(number, index[tf.newaxis])[0]
    last = tf.searchsorted(number, index[tf.newaxis], side="right")[0]
    rows = tf.nest.map_structure(lambda column: column[first:last], chunk["rows"])
    history = {}
    for group in schema.groups:
        events = tf.ragged.range(*rows["history"][group.name])
        history[group.name] = {
            name: _gather(chunk, f"{group.name}/{name}", events)
            for name in ("object", "action", "time")
        }
    candidates = {}
    moments = {}  # Of each candidate, for all positions.
    labels = []
    weights = []
    for target in schema.targets:
        group = schema.group(target)
        targets = tf.ragged.range(*rows["targets"][target])
        # Of the name alone: a target's negatives are the same whatever else is predicted.
        salt = tf.concat([seed, [zlib.crc32(target.encode())]], axis=0)
        if group.impressions:
            time_feature, object_feature = target_features(group)
            candidates[target] = _gather(chunk, object_feature, targets)
            moments[target] = _gather(chunk, time_feature, targets)
            label = tf.cast(_gather(chunk, f"{target}/label", targets).flat_values, tf.float32)
        elif cut.split == "train":
            candidates[target], moments[target], label = _training_candidates(
                chunk, group, rows["user"], targets, cut, salt
            )
        else:
            candidates[target], label = _evaluation_candidates(
                chunk, group, rows["user"], rows["time"], targets, cut, salt
            )
        labels.append(label)
        if cut.target_weights is not None:
            weights.append(tf.fill(tf.shape(label), float(cut.target_weights.get(target, 1.0))))
    inputs = {
        "user": tf.gather(chunk["user_row"], rows["user"]),
        "now": moments if cut.all_positions else rows["time"],
        "history": history,
        "candidates": candidates,
    }
    if cut.target_weights is None:
        return inputs, tf.concat(labels, axis=0)
    return inputs, tf.concat(labels, axis=0), tf.concat(weights, axis=0)


def _touched(chunk: Chunk, group: Group, split: str) -> tf.RaggedTensor:
    """The distinct objects of the pool that negatives must keep clear of, by user.

    Training knows what was touched in the training period alone: to hide held-out objects
    from its negatives would tell the model which they are.
    """
    objects = chunk[f"{group.name}/object"]
    known = objects.flat_values - group.num_oov
    keep = tf.logical_and(known >= 0, known < pool(group, split))
    if split == "train":
        keep = tf.logical_and(keep, in_split(chunk, chunk[f"{group.name}/time"], "train"))
    mask = objects.with_flat_values(keep)
    return negatives.distinct_objects(tf.ragged.boolean_mask(objects.with_flat_values(known), mask))


def _gather(chunk: Chunk, feature: str, places: tf.RaggedTensor) -> tf.RaggedTensor:
    return places.with_flat_values(tf.gather(chunk[feature].flat_values, places.flat_values))


def _training_candidates(
    chunk: Chunk,
    group: Group,
    users: tf.Tensor,
    targets: tf.RaggedTensor,
    cut: Cut,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """Each positive before its own negatives: their objects, moments, and flat labels."""
    time_feature, object_feature = target_features(group)
    positives = _gather(chunk, object_feature, targets).flat_values
    times = _gather(chunk, time_feature, targets).flat_values
    owners = ragged.per_value(targets, users)
    bounds = chunk[f"{group.name}/untouched"]
    number = cut.num_negatives
    # A moment's first positive has the first negatives of its order, and so on.
    first = number * tf.gather(chunk[f"{group.name}/place"], targets.flat_values)
    order = negatives.random_numbers(*tf.unstack(seed), tf.gather(chunk["user_row"], owners), times)
    sampled = group.num_oov + negatives.sample_untouched(
        bounds,
        pool(group, cut.split),
        tf.repeat(owners, number),
        tf.reshape(first[:, tf.newaxis] + tf.range(number, dtype=tf.int64), [-1]),
        tf.repeat(order, number),
    )
    is_left = negatives.num_untouched(bounds, pool(group, cut.split)) > 0
    has_negatives = tf.gather(is_left, owners)[:, tf.newaxis]
    # A column for the positive, then one for each negative.
    objects = tf.concat([positives[:, tf.newaxis], tf.reshape(sampled, [-1, number])], axis=1)
    keep = tf.concat([tf.ones_like(has_negatives), tf.repeat(has_negatives, number, 1)], axis=1)
    label = tf.concat([[1.0], tf.zeros([number])], axis=0)
    ends = tf.cumsum(tf.math.count_nonzero(keep, axis=1))
    splits = tf.gather(tf.concat([[0], ends], axis=0), targets.row_splits)

    def flat(columns: tf.Tensor) -> tf.Tensor:
        return tf.boolean_mask(tf.broadcast_to(columns, tf.shape(objects)), keep)

    def of_targets(columns: tf.Tensor) -> tf.RaggedTensor:
        return tf.RaggedTensor.from_row_splits(flat(columns), splits, validate=False)

    return of_targets(objects), of_targets(times[:, tf.newaxis]), flat(label)


def _evaluation_candidates(
    chunk: Chunk,
    group: Group,
    users: tf.Tensor,
    times: tf.Tensor,
    targets: tf.RaggedTensor,
    cut: Cut,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Each moment's positives before its negatives: their objects, and flat labels."""
    positives = _gather(chunk, target_features(group)[1], targets)
    bounds = chunk[f"{group.name}/untouched"]
    left = negatives.num_untouched(bounds, pool(group, cut.split))
    wanted = tf.minimum(tf.gather(left, users), cut.num_negatives)
    drawn = tf.ragged.range(tf.where(positives.row_lengths() > 0, wanted, 0))
    order = negatives.random_numbers(*tf.unstack(seed), tf.gather(chunk["user_row"], users), times)
    sampled = group.num_oov + negatives.sample_untouched(
        bounds,
        pool(group, cut.split),
        ragged.per_value(drawn, users),
        drawn.flat_values,
        ragged.per_value(drawn, order),
    )
    objects = tf.concat([positives, drawn.with_flat_values(sampled)], axis=1)
    labels = tf.concat([tf.ones_like(positives), tf.zeros_like(drawn)], axis=1)
    return objects, tf.cast(labels.flat_values, tf.float32)
