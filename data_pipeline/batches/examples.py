"""Batches of examples, made of the rows that were cut out of timelines.

All of it is whole-array work on a block or a batch: nothing here runs per user or per event.
"""

import zlib
from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches import negatives
from data_pipeline.batches.block import Block, in_split, pool, position_in_query, target_features
from data_pipeline.batches.options import BatchOptions
from data_pipeline.schema import Group, Schema


def prepare_negatives(block: Block, schema: Schema, split: str) -> Block:
    """Adds to a block what its batches share in drawing negatives.

    Returns:
        The block and, for each target group whose negatives are sampled, `GROUP/untouched`,
        what `negatives.untouched_bounds` returned, and `GROUP/position`, each event's position
        among those of its time.
    """
    prepared = dict(block)
    for target in schema.targets:
        if not schema.group(target).impressions:
            touched = _touched(block, schema.group(target), split)
            prepared[f"{target}/untouched"] = negatives.untouched_bounds(touched)
            prepared[f"{target}/position"] = position_in_query(block[f"{target}/time"])
    return prepared


def make_batch(
    block: Block,
    index: tf.Tensor,
    schema: Schema,
    split: str,
    options: BatchOptions,
    seed: tf.Tensor,
) -> tuple[dict[str, Any], tf.Tensor] | tuple[dict[str, Any], tf.Tensor, tf.Tensor]:
    """Makes one batch of examples from a block.

    Args:
        block: What `pack_rows` returned, with what `prepare_negatives` adds.
        index: Which batch.
        schema: The schema.
        split: "train", "validation" or "test".
        options: How to cut, resolved.
        seed: Two integers, of the epoch: a query's negatives depend on it and on the
            user, the time and the target, not on the batch.

    Returns:
        A batch as `atrank_tf.Ranker` takes it, and the labels, float32 [candidates]: for
        each target group in turn, row after row. In training a positive stands
        before its own negatives; otherwise a query's positives before its negatives. Where
        the options weigh targets, the weight of each candidate, too.
    """
    number = block["rows"]["batch"]
    first = tf.searchsorted(number, index[tf.newaxis])[0]
    last = tf.searchsorted(number, index[tf.newaxis], side="right")[0]
    rows = tf.nest.map_structure(lambda column: column[first:last], block["rows"])
    history = {}
    for group in schema.groups:
        events = tf.ragged.range(*rows["history"][group.name])
        history[group.name] = {
            name: _gather(block, f"{group.name}/{name}", events)
            for name in ("object", "action", "time")
        }
    candidates = {}
    query_times = {}  # Of each candidate, for rows of windows.
    labels = []
    weights = []
    for target in schema.targets:
        group = schema.group(target)
        targets = tf.ragged.range(*rows["targets"][target])
        # Of the name alone: a target's negatives are the same whatever else is predicted.
        salt = tf.concat([seed, [zlib.crc32(target.encode())]], axis=0)
        if group.impressions:
            time_feature, object_feature = target_features(group)
            candidates[target] = _gather(block, object_feature, targets)
            query_times[target] = _gather(block, time_feature, targets)
            label = tf.cast(_gather(block, f"{target}/label", targets).flat_values, tf.float32)
        elif split == "train":
            candidates[target], query_times[target], label = _training_candidates(
                block, group, rows["user"], targets, options, salt
            )
        else:
            candidates[target], label = _evaluation_candidates(
                block, group, split, rows["user"], rows["time"], targets, options, salt
            )
        labels.append(label)
        if options.target_weights:
            weights.append(tf.fill(tf.shape(label), float(options.target_weights.get(target, 1.0))))
    inputs = {
        "user": tf.gather(block["user_index"], rows["user"]),
        "query_time": query_times if options.rows == "windows" else rows["time"],
        "history": history,
        "candidates": candidates,
    }
    if not options.target_weights:
        return inputs, tf.concat(labels, axis=0)
    return inputs, tf.concat(labels, axis=0), tf.concat(weights, axis=0)


def _touched(block: Block, group: Group, split: str) -> tf.RaggedTensor:
    """The distinct objects of the pool that negatives must keep clear of, by user.

    Training knows what was touched in the training period alone: to hide held-out objects
    from its negatives would tell the model which they are.
    """
    objects = block[f"{group.name}/object"]
    known = objects.flat_values - group.num_oov
    keep = tf.logical_and(known >= 0, known < pool(group, split))
    if split == "train":
        keep = tf.logical_and(keep, in_split(block, block[f"{group.name}/time"], "train"))
    mask = objects.with_flat_values(keep)
    return negatives.distinct_objects(tf.ragged.boolean_mask(objects.with_flat_values(known), mask))


def _gather(block: Block, feature: str, positions: tf.RaggedTensor) -> tf.RaggedTensor:
    values = tf.gather(block[feature].flat_values, positions.flat_values)
    return positions.with_flat_values(values)


def _training_candidates(
    block: Block,
    group: Group,
    users: tf.Tensor,
    targets: tf.RaggedTensor,
    options: BatchOptions,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """Each positive before its own negatives: their objects, query times, and flat labels."""
    time_feature, object_feature = target_features(group)
    positives = _gather(block, object_feature, targets).flat_values
    times = _gather(block, time_feature, targets).flat_values
    owners = ragged.per_value(targets, users)
    bounds = block[f"{group.name}/untouched"]
    number = options.num_negatives
    # A query's first positive has the first negatives of its order, and so on.
    first = number * tf.gather(block[f"{group.name}/position"], targets.flat_values)
    order = negatives.random_numbers(
        *tf.unstack(seed), tf.gather(block["user_index"], owners), times
    )
    sampled = group.num_oov + negatives.sample_untouched(
        bounds,
        pool(group, "train"),
        tf.repeat(owners, number),
        tf.reshape(first[:, tf.newaxis] + tf.range(number, dtype=tf.int64), [-1]),
        tf.repeat(order, number),
    )
    is_left = negatives.num_untouched(bounds, pool(group, "train")) > 0
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
    block: Block,
    group: Group,
    split: str,
    users: tf.Tensor,
    times: tf.Tensor,
    targets: tf.RaggedTensor,
    options: BatchOptions,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Each query's positives before its negatives: their objects, and flat labels."""
    positives = _gather(block, target_features(group)[1], targets)
    bounds = block[f"{group.name}/untouched"]
    left = negatives.num_untouched(bounds, pool(group, split))
    wanted = tf.minimum(tf.gather(left, users), options.num_negatives)
    drawn = tf.ragged.range(tf.where(positives.row_lengths() > 0, wanted, 0))
    order = negatives.random_numbers(
        *tf.unstack(seed), tf.gather(block["user_index"], users), times
    )
    sampled = group.num_oov + negatives.sample_untouched(
        bounds,
        pool(group, split),
        ragged.per_value(drawn, users),
        drawn.flat_values,
        ragged.per_value(drawn, order),
    )
    objects = tf.concat([positives, drawn.with_flat_values(sampled)], axis=1)
    labels = tf.concat([tf.ones_like(positives), tf.zeros_like(drawn)], axis=1)
    return objects, tf.cast(labels.flat_values, tf.float32)
