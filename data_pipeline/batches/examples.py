"""Batches of examples, made of the batch rows that were cut out of timelines.

All of it is whole-array work on a block or a batch: nothing here runs per user or per event.
"""

import zlib
from typing import Any

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches import negatives
from data_pipeline.batches.block import Block
from data_pipeline.batches.draws import draw, num_negatives
from data_pipeline.batches.look_ups import ObjectValues, values_of
from data_pipeline.batches.options import BatchOptions
from data_pipeline.schema import Group, Schema
from data_pipeline.touches import answer


def make_batch(
    block: Block,
    index: tf.Tensor,
    schema: Schema,
    split: str,
    options: BatchOptions,
    seed: tf.Tensor,
    values: ObjectValues | None = None,
) -> tuple[dict[str, Any], tf.Tensor] | tuple[dict[str, Any], tf.Tensor, tf.Tensor]:
    """Makes one batch of examples from a block.

    Args:
        block: What `pack_rows` returned, with what `prepare_draws` adds.
        index: Which batch.
        schema: The schema.
        split: "train", "validation" or "test".
        options: How to cut, resolved.
        seed: Two integers, of the epoch: a query's negatives depend on it and on the
            user, the time and the target, not on the batch.
        values: What `object_values` returned; read where the options want the recurrence.

    Returns:
        A batch as `atrank_tf.Ranker` takes it, and the labels, float32 [candidates]: for
        each target in turn, row after row. In training a positive stands
        before its own negatives; otherwise a query's positives before its negatives. Where
        the options weigh targets, the weight of each candidate, too.

    Example:

    >>> schema = Schema((Group("item", impressions="shown.csv"),), ("item",))
    >>> names = ("object", "action", "time", "candidate", "candidate_time", "label")
    >>> ones = tf.ones([1], tf.int64)
    >>> block = {f"item/{name}": tf.ragged.constant([[1]], tf.int64) for name in names}
    >>> ranges = {"item": (ones - 1, ones)}
    >>> rows = {"user": ones - 1, "batch": ones - 1, "time": ones, "history": ranges}
    >>> block |= {"user_index": ones, "rows": rows | {"targets": ranges}}
    >>> from data_pipeline.batches.block import with_targets
    >>> block = with_targets(block, schema)
    >>> options = BatchOptions(look_ups=False).resolved("test", ["item"])
    >>> inputs, labels = make_batch(block, ones[0] - 1, schema, "test", options, [ones, ones])
    >>> sorted(inputs), labels.numpy().tolist()
    (['actions', 'candidates', 'history', 'query_time', 'user'], [1.0])
    """
    rows = _rows_of_batch(block, index)
    history = {}
    for group in schema.groups:
        events = tf.ragged.range(*rows["history"][group.name])
        history[group.name] = {
            name: _gather(block, f"{group.name}/{name}", events)
            for name in ("object", "action", "time")
        }
    candidates = {}
    query_times = {}  # Of each candidate, for rows of windows.
    recurrence = {}
    actions = {}
    places: dict[str, dict[str, tf.RaggedTensor]] = {"list": {}, "position": {}}
    labels = []
    weights = []
    for target in schema.target_names:
        group = schema.target_group(target)
        candidates[target], times, target_labels = _candidates(
            block, target, group, split, rows, options, seed
        )
        if times is None:
            times = ragged.spread(candidates[target], rows["time"])
        query_times[target] = times
        if options.look_ups:
            assert values is not None
            users = ragged.per_value(candidates[target], rows["user"])
            recurrence[target] = candidates[target].with_flat_values(
                answer(
                    block["touches"],
                    schema,
                    target,
                    values_of(values[group.name], candidates[target].flat_values),
                    times.flat_values,
                    users,
                    at_once=options.sampling == "all",
                )
            )
        if split != "train":
            actions[target] = _actions(block, target, group, rows, candidates[target])
        shown = tf.ragged.range(*rows["targets"][target])
        for name in schema.place_columns(group.name):
            places[name][target] = _gather(block, f"target/{target}/{name}", shown)
        labels.append(target_labels)
        if options.target_weights:
            weight = float(options.target_weights.get(target, 1.0))
            weights.append(tf.fill(tf.shape(target_labels), weight))
    inputs = {
        "user": tf.gather(block["user_index"], rows["user"]),
        "query_time": query_times if options.rows == "windows" else rows["time"],
        "history": history,
        "candidates": candidates,
    }
    if options.look_ups:
        inputs["recurrence"] = recurrence
    if split != "train":
        inputs["actions"] = actions
    if places["list"]:
        inputs["lists"] = places["list"]
    if places["position"] and split == "train":
        inputs["positions"] = places["position"]
    if not options.target_weights:
        return inputs, tf.concat(labels, axis=0)
    return inputs, tf.concat(labels, axis=0), tf.concat(weights, axis=0)


def _rows_of_batch(block: Block, index: tf.Tensor) -> dict[str, Any]:
    batches = block["rows"]["batch"]
    first = tf.searchsorted(batches, index[tf.newaxis])[0]
    limit = tf.searchsorted(batches, index[tf.newaxis], side="right")[0]
    return tf.nest.map_structure(lambda column: column[first:limit], block["rows"])


def _candidates(
    block: Block,
    target: str,
    group: Group,
    split: str,
    rows: dict[str, Any],
    options: BatchOptions,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.RaggedTensor | None, tf.Tensor]:
    """A target's candidates, their query times where they may differ, and flat labels."""
    targets = tf.ragged.range(*rows["targets"][target])
    if group.impressions:
        objects = _gather(block, f"target/{target}/object", targets)
        times = _gather(block, f"target/{target}/time", targets)
        labels = _gather(block, f"target/{target}/label", targets).flat_values
        return objects, times, tf.cast(labels, tf.float32)
    # Of the name alone: a target's negatives are the same whatever else is predicted.
    salt = tf.concat([seed, [zlib.crc32(target.encode())]], axis=0)
    if split == "train":
        return _training_candidates(block, target, group, rows["user"], targets, options, salt)
    objects, labels = _evaluation_candidates(
        block, target, group, split, rows["user"], rows["time"], targets, options, salt
    )
    return objects, None, labels


def _actions(
    block: Block, target: str, group: Group, rows: dict[str, Any], candidates: tf.RaggedTensor
) -> tf.RaggedTensor:
    """Action index of each positive, which stand before the negatives; 0 of all else."""
    if group.impressions:
        return tf.zeros_like(candidates)
    positions = tf.ragged.range(*rows["targets"][target])
    taken = _gather(block, f"target/{target}/action", positions)
    num_others = candidates.row_lengths() - taken.row_lengths()
    others = tf.ragged.range(num_others)
    return ragged.like(candidates, tf.concat([taken, tf.zeros_like(others)], axis=1).flat_values)


def _gather(block: Block, feature: str, positions: tf.RaggedTensor) -> tf.RaggedTensor:
    values = tf.gather(block[feature].flat_values, positions.flat_values)
    return positions.with_flat_values(values)


def _training_candidates(
    block: Block,
    target: str,
    group: Group,
    users: tf.Tensor,
    targets: tf.RaggedTensor,
    options: BatchOptions,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """Each positive before its own negatives: their objects, query times, and flat labels."""
    positives = _gather(block, f"target/{target}/object", targets).flat_values
    times = _gather(block, f"target/{target}/time", targets).flat_values
    owners = ragged.per_value(targets, users)
    rows = tf.gather(block[f"{target}/excluded_row"], targets.flat_values)
    of_each = options.num_negatives
    assert of_each is not None  # It is resolved.
    # A query's first positive has the first negatives of its order, and so on.
    first = of_each * tf.gather(block[f"{target}/position"], targets.flat_values)
    order = negatives.random_numbers(
        *tf.unstack(seed), tf.gather(block["user_index"], owners), times
    )
    sampled = draw(
        block,
        target,
        group,
        "train",
        options,
        tf.repeat(rows, of_each),
        tf.reshape(first[:, tf.newaxis] + tf.range(of_each, dtype=tf.int64), [-1]),
        tf.repeat(order, of_each),
    )
    any_left = num_negatives(block, target, group, "train", options) > 0
    has_negatives = tf.gather(any_left, rows)[:, tf.newaxis]
    # A column for the positive, then one for each negative.
    sampled = tf.reshape(sampled, [-1, of_each])
    objects = tf.concat([positives[:, tf.newaxis], sampled], axis=1)
    is_sampled = tf.repeat(has_negatives, of_each, 1)
    is_candidate = tf.concat([tf.ones_like(has_negatives), is_sampled], axis=1)
    labels = tf.concat([[1.0], tf.zeros([of_each])], axis=0)
    ends = tf.cumsum(tf.math.count_nonzero(is_candidate, axis=1))
    splits = tf.gather(tf.concat([[0], ends], axis=0), targets.row_splits)

    def flat(columns: tf.Tensor) -> tf.Tensor:
        return tf.boolean_mask(tf.broadcast_to(columns, tf.shape(objects)), is_candidate)

    def of_targets(columns: tf.Tensor) -> tf.RaggedTensor:
        return ragged.from_row_splits(flat(columns), splits, validate=False)

    return of_targets(objects), of_targets(times[:, tf.newaxis]), flat(labels)


def _evaluation_candidates(
    block: Block,
    target: str,
    group: Group,
    split: str,
    users: tf.Tensor,
    times: tf.Tensor,
    targets: tf.RaggedTensor,
    options: BatchOptions,
    seed: tf.Tensor,
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Each query's positives before its negatives: their objects, and flat labels."""
    positives = _gather(block, f"target/{target}/object", targets)
    # A row's targets are of one time: the first tells what its negatives keep clear of.
    excluded_row = tf.concat([block[f"{target}/excluded_row"], [0]], axis=0)
    first = tf.concat([targets.flat_values, [0]], axis=0)
    rows = tf.gather(excluded_row, tf.gather(first, targets.row_starts()))
    rows = tf.where(targets.row_lengths() > 0, rows, 0)
    drawable = tf.concat([num_negatives(block, target, group, split, options), [0]], axis=0)
    of_rows = tf.where(positives.row_lengths() > 0, tf.gather(drawable, rows), 0)
    draws = tf.ragged.range(of_rows)
    order = negatives.random_numbers(
        *tf.unstack(seed), tf.gather(block["user_index"], users), times
    )
    sampled = draw(
        block,
        target,
        group,
        split,
        options,
        ragged.per_value(draws, rows),
        draws.flat_values,
        ragged.per_value(draws, order),
    )
    objects = tf.concat([positives, draws.with_flat_values(sampled)], axis=1)
    labels = tf.concat([tf.ones_like(positives), tf.zeros_like(draws)], axis=1)
    return objects, tf.cast(labels.flat_values, tf.float32)
