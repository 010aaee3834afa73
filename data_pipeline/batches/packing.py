"""How rows are packed into batches: which rows share a batch, and how large it is.

A batch holds about `max_tokens` events and candidates. Rows of like length share a batch, so that
padding them to one length costs little.
"""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from data_pipeline.batches.block import Block, is_new, pool_size
from data_pipeline.batches.options import BatchOptions
from data_pipeline.batches.queries import query_rows
from data_pipeline.batches.windows import window_rows
from data_pipeline.schema import Schema

# A row costs something even without a history: no batch gets more rows than this.
_MAX_ROWS = 512


def pack_rows(
    block: Block, schema: Schema, split: str, options: BatchOptions, seed: tf.Tensor
) -> Block:
    """Adds to a block of timelines its rows, packed into batches.

    Args:
        block: What `parse_timelines` returned.
        schema: The schema.
        split: "train", "validation" or "test".
        options: Resolved.
        seed: Two integers.

    Returns:
        The block with `rows`: `batch` (ascending), the `user`'s position in the block, for
        each group of `history` and each target of `targets` where the row's range
        starts and ends in the flat features, and of queries the `time`: int64 [rows].

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> block = dict.fromkeys(("validation_start", "test_start"), tf.constant([30], tf.int64))
    >>> block["item/time"] = tf.ragged.constant([[10, 20, 20, 30]], tf.int64)
    >>> from data_pipeline.batches.block import with_targets
    >>> block = with_targets(block, schema)
    >>> options = BatchOptions().resolved("train", ["item"])
    >>> packed = pack_rows(block, schema, "train", options, tf.constant([0, 0], tf.int64))
    >>> packed["rows"]["batch"].numpy().tolist()  # The queries at 10 and 20 share a batch.
    [0, 0]
    """
    assert options.max_tokens is not None  # It is resolved.
    rows = _rows(block, schema, split, options, seed)
    lengths = tf.add_n([limits - starts for starts, limits in rows["history"].values()])
    counts = tf.zeros_like(lengths)
    for target, (starts, limits) in rows["targets"].items():
        num_targets = limits - starts
        is_labelled = bool(schema.target_group(target).impressions)
        if is_labelled:
            counts += num_targets
        else:
            pool = pool_size(schema.target_group(target), split)
            counts += _num_candidates(num_targets, split, options, pool)
    order = _batch_order(lengths, counts, split == "train", seed + 1)
    order = tf.gather(order, tf.argsort(tf.gather(rows["kind"], order), stable=True))
    sizes = tf.gather(tf.maximum(lengths + counts, options.max_tokens // _MAX_ROWS), order)
    batch = tf.cumsum(sizes) // options.max_tokens
    rows = tf.nest.map_structure(lambda column: tf.gather(column, order), rows)
    begins = tf.logical_or(is_new(batch), is_new(rows.pop("kind")))
    return block | {"rows": rows | {"batch": tf.cumsum(tf.cast(begins, tf.int64)) - 1}}


def num_batches(block: Block) -> tf.Tensor:
    """Returns how many batches the rows of a block were packed into.

    Example:

    >>> int(num_batches({"rows": {"batch": tf.constant([0, 0, 1])}}))
    2
    """
    return tf.reduce_max(tf.concat([[-1], block["rows"]["batch"]], axis=0)) + 1


def _rows(
    block: Block, schema: Schema, split: str, options: BatchOptions, seed: tf.Tensor
) -> dict[str, Any]:
    """The rows cut out of a block, and the `kind` of each: rows of a kind may share a batch."""
    cut = window_rows if options.rows == "windows" else query_rows
    names = schema.target_names
    kinds = [(target,) for target in names] if options.single_target else [names]
    rows_of_kinds = []
    for kind, targets in enumerate(kinds):
        rows = cut(block, _of_targets(schema, targets), split, options, seed)
        zeros = tf.zeros_like(rows["user"])
        ranges = {
            target: rows["targets"].get(target, (zeros, zeros)) for target in schema.target_names
        }
        rows_of_kinds.append(rows | {"targets": ranges, "kind": zeros + kind})
    return tf.nest.map_structure(lambda *columns: tf.concat(columns, axis=0), *rows_of_kinds)


def _of_targets(schema: Schema, names: Sequence[str]) -> Schema:
    """The schema of some of its targets, which reads all of its groups."""
    return schema.select([group.name for group in schema.groups], names)


def _num_candidates(
    positives: tf.Tensor, split: str, options: BatchOptions, pool: int
) -> tf.Tensor:
    """How many candidates a row has with so many positives; none without a positive."""
    assert options.num_negatives is not None  # It is resolved.
    if split == "train":
        return positives * (1 + options.num_negatives)
    of_each = pool if options.sampling == "all" else options.num_negatives
    return tf.where(positives > 0, positives + of_each, 0)


def _batch_order(
    lengths: tf.Tensor, counts: tf.Tensor, is_training: bool, seed: tf.Tensor
) -> tf.Tensor:
    """The order in which rows fill batches: like lengths together, then like counts.

    Lengths are alike within some 15%. In training, noise on where one class ends and on
    the counts lets ever new rows meet.
    """
    noise = tf.random.stateless_uniform([2, tf.shape(lengths)[0]], seed)  # type: ignore[list-item]
    if not is_training:
        noise = tf.zeros_like(noise)
    length_class = tf.floor(
        5 * tf.math.log(tf.cast(lengths, tf.float32) + 1) / math.log(2.0) + noise[0]
    )
    by_count = tf.math.log(tf.cast(counts, tf.float32) + 1) + 0.1 * noise[1]
    # The logarithm of a count stays below 64, so the length's class decides first.
    return tf.argsort(64 * length_class + by_count, stable=True)
