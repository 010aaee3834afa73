"""What datasets do, traced once for all of one schema, split and options.

To trace a block and its batches takes longer than to cut small data into them: each evaluation, and
each run that a process trains, would pay for it again.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from data_pipeline.batches.block import parse_timelines
from data_pipeline.batches.draws import prepare_draws
from data_pipeline.batches.examples import make_batch
from data_pipeline.batches.look_ups import sort_block
from data_pipeline.batches.options import BatchOptions
from data_pipeline.batches.packing import pack_rows
from data_pipeline.schema import Schema


class Traced(NamedTuple):
    """The two functions of a pipeline.

    Attributes:
        block: Of serialized timelines, a block's seed and what `object_values` and `object_counts`
            returned: the block, packed, with what its batches share in drawing negatives and in
            look-ups.
        batch: Of such a block, the number of a batch, the epoch's seed and those values: the batch.

    Example:

    >>> data = TimelineData(toy_data())
    >>> options = BatchOptions().resolved("test", data.schema.target_names)
    >>> graphs = traced(data.schema, "test", options)
    >>> shard = tf.data.TFRecordDataset(str(data.directory / data.manifest.shards[0].file))
    >>> seed = tf.zeros([2], tf.int64)
    >>> from data_pipeline.batches.look_ups import object_values
    >>> values = object_values(data.catalog, data.schema)
    >>> block = graphs.block(next(iter(shard.batch(2))), seed, values, {})
    >>> inputs, labels = graphs.batch(block, seed[0], seed, values)
    >>> len(inputs["user"])
    2
    """

    block: Callable[..., Any]
    batch: Callable[..., Any]


def traced(schema: Schema, split: str, options: BatchOptions) -> Traced:
    """Returns the functions of a pipeline.

    Args:
        schema: The schema.
        split: "train", "validation" or "test".
        options: Resolved.

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> options = BatchOptions().resolved("test", ["item"])
    >>> traced(schema, "test", options) is traced(schema, "test", options.replace())
    True
    """
    # Of batches alone: a subclass may hold more, and each run another seed.
    values = options.model_dump_json(include=set(BatchOptions.model_fields))
    return _traced(schema, split, values)


@functools.lru_cache(maxsize=16)
def _traced(schema: Schema, split: str, options_json: str) -> Traced:
    options = BatchOptions.model_validate_json(options_json)

    @tf.function(autograph=False, reduce_retracing=True)
    def block(records: tf.Tensor, block_seed: tf.Tensor, values: Any, counts: Any) -> Any:
        parsed = parse_timelines(records, schema)
        packed = pack_rows(parsed, schema, split, options, block_seed)
        packed = prepare_draws(packed, schema, split, options, counts)
        if options.look_ups:
            packed["touches"] = sort_block(packed, schema, values)
        return packed

    @tf.function(autograph=False, reduce_retracing=True)
    def batch(packed: Any, index: tf.Tensor, seed: tf.Tensor, values: Any) -> Any:
        return make_batch(packed, index, schema, split, options, seed, values)

    return Traced(block, batch)
