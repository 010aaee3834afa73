"""Batches without graphs: to trace one takes longer than to cut small data."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from data_pipeline.batches.block import parse_timelines
from data_pipeline.batches.draws import object_counts, prepare_draws
from data_pipeline.batches.examples import make_batch
from data_pipeline.batches.look_ups import object_values, sort_block
from data_pipeline.batches.options import BatchOptions
from data_pipeline.batches.packing import num_batches, pack_rows
from data_pipeline.dataset import TimelineData


class EagerData(TimelineData):
    """Prepared data of one block, whose batches do not go through tf.data."""

    def batches(  # type: ignore[override]
        self, split: str, options: BatchOptions | None = None, *, seed: int = 0, epoch: int = 0
    ) -> Iterator[Any]:
        resolved = (options or BatchOptions()).resolved(split, self.schema.target_names)
        files = [str(self.directory / shard.file) for shard in self.manifest.shards]
        (records,) = tf.data.TFRecordDataset(files).batch(1024)
        seeds = tf.constant([seed, epoch], tf.int64)
        values = object_values(self.catalog, self.schema)
        block = parse_timelines(records, self.schema)
        block = pack_rows(block, self.schema, split, resolved, seeds)
        counts = object_counts(self.catalog, self.schema)
        block = prepare_draws(block, self.schema, split, resolved, counts)
        if resolved.look_ups:
            block["touches"] = sort_block(block, self.schema, values)
        for number in range(int(num_batches(block))):
            index = tf.constant(number, tf.int64)
            yield make_batch(block, index, self.schema, split, resolved, seeds, values)
