"""`TimelineData`: prepared data, and the tf.data pipelines that read it."""

import functools
from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from data_pipeline.batches.block import Block, parse_timelines
from data_pipeline.batches.draws import object_counts
from data_pipeline.batches.look_ups import ObjectValues, object_values
from data_pipeline.batches.options import BatchOptions
from data_pipeline.batches.packing import num_batches, pack_rows
from data_pipeline.batches.traced import traced
from data_pipeline.catalog import load_catalog
from data_pipeline.manifest import Manifest
from data_pipeline.schema import Schema

# Users whose timelines are cut into batches together: enough to fill batches of like length,
# few enough to be in memory with histories of tens of thousands of events.
_BLOCK_USERS = 1024

# No function here branches on a tensor in Python, and autograph takes its time to find that out.
_as_is = tf.autograph.experimental.do_not_convert


class TimelineData:
    """What `prepare` wrote, opened for training, evaluation and export.

    Args:
        directory: The output directory of `prepare`.
        groups: Names of the groups to read; () for all.
        targets: Names of the targets to predict; () for all that are read.

    Attributes:
        directory: That directory.
        schema: Its schema, sizes filled in, of the groups and targets chosen.
        manifest: What is in it: users, events, targets, shards, fingerprint.
        catalog: What is known of each group's objects, for the model's constructor.

    Raises:
        UserError: The directory holds no prepared data, or only part of it; or there is no
            such group or target.

    Example:

    >>> data = TimelineData(toy_data(), targets=["item"])
    >>> data.schema.target_names, data.manifest.users, data.num_targets("test") > 0
    (('item',), 24, True)
    """

    def __init__(
        self, directory: str | Path, groups: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        self.directory = Path(directory)
        self.manifest = Manifest.load(self.directory)
        self.schema = Schema.load(self.directory).select(groups, targets)
        self.catalog = load_catalog(self.directory, self.schema)

    def num_targets(self, split: str) -> int:
        """Returns how many targets, of the groups chosen, a split has."""
        return sum(self.manifest.targets[split][target] for target in self.schema.target_names)

    def batches(
        self,
        split: str,
        options: BatchOptions | None = None,
        *,
        seed: int = 0,
        epoch: int | None = None,
    ) -> tf.data.Dataset:
        """Returns batches of (inputs, labels), as `atrank_tf.Ranker` takes them.

        A batch row is a user at a query time at which they had targets. The history is
        encoded once for all of them: the targets of that time, and negatives drawn uniformly
        from the objects that the user did not take at that time, or never touched: see
        `Group.negatives`. Where targets are labelled, the labelled ones are the candidates and
        nothing is drawn.

        With `rows="windows"` a batch row has many of a user's targets: those of a window of half
        as many events and targets as `max_history`, with histories for all of them;
        `query_time` is that of each candidate. It is for models whose state serves every
        query time, and hides from each what came later.

        Args:
            split: "train", "validation" or "test". Training batches come shuffled, with
                fresh negatives each time the dataset is iterated; the others always
                the same, whatever the model.
            options: How to cut; None for the defaults of `BatchOptions`.
            seed: Same seed, same batches.
            epoch: Which epoch of the seed. None for one after the other, a new epoch at each
                iteration.

        Returns:
            A finite dataset, one epoch long; with `target_weights` of (inputs, labels,
            weights), float32 [candidates] like the labels.

        Example:

        >>> data = TimelineData(toy_data())
        >>> for inputs, labels in data.batches("test", BatchOptions(num_negatives=9)).take(1):
        ...     print(sorted(inputs), labels.dtype.name)
        ['actions', 'candidates', 'history', 'query_time', 'recurrence', 'user'] float32
        """
        resolved = self._resolved(split, options)
        if split == "train" and epoch is None:
            draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
        else:
            draws = tf.data.Dataset.from_tensors(tf.constant(epoch or 0, tf.int64))
        return draws.flat_map(
            _as_is(lambda draw: self._epoch(split, resolved, seed, draw))
        ).prefetch(4)

    def epochs(
        self, first: int, last: int, options: BatchOptions | None = None, *, seed: int = 0
    ) -> tf.data.Dataset:
        """Returns the training batches of several epochs, one epoch after the other.

        An iteration of `batches` costs about a second before its first batch, in which
        TensorFlow makes its graphs ready. Here that is paid once for all epochs.

        Args:
            first: First epoch of the seed.
            last: The epoch to stop before.
            options: As for `batches`.
            seed: Same seed, same batches.

        Returns:
            Of each batch the number of its epoch, int64 [], inputs and labels.
        """
        resolved = self._resolved("train", options)

        @_as_is
        def numbered(epoch: tf.Tensor) -> tf.data.Dataset:
            batches = self._epoch("train", resolved, seed, epoch)
            return batches.map(_as_is(lambda *batch: (epoch, *batch)))

        return tf.data.Dataset.range(first, last).flat_map(numbered).prefetch(4)

    def count_batches(self, split: str, options: BatchOptions | None = None) -> int:
        """Returns how many batches `batches` gives, without making them.

        That is for some epoch: in training each is divided anew, hardly differently.

        Args:
            split: As for `batches`.
            options: As for `batches`.
        """
        resolved = self._resolved(split, options)
        seed = tf.zeros([2], tf.int64)
        # Without a graph: to trace one would take longer than a pass over all but the largest data.
        return sum(
            int(num_batches(self._packed(split, resolved, seed, number, records)))
            for number, records in self._blocks(split, seed)
        )

    @functools.cached_property
    def _values(self) -> ObjectValues:
        """What look-ups compare; made when a dataset first needs it, which may be in its graph."""
        with tf.init_scope():
            return object_values(self.catalog, self.schema)

    @functools.cached_property
    def _counts(self) -> dict[str, tf.Tensor]:
        """What negatives are drawn by, where that is popularity."""
        with tf.init_scope():
            return object_counts(self.catalog, self.schema)

    def _resolved(self, split: str, options: BatchOptions | None) -> BatchOptions:
        return (options or BatchOptions()).resolved(split, self.schema.target_names)

    def _epoch(
        self, split: str, options: BatchOptions, seed: int, draw: tf.Tensor
    ) -> tf.data.Dataset:
        """The batches of one epoch."""
        epoch_seed = tf.stack([seed, draw])
        return self._blocks(split, epoch_seed).flat_map(
            _as_is(
                lambda number, records: self._batches(split, options, epoch_seed, number, records)
            )
        )

    def _blocks(self, split: str, seed: tf.Tensor) -> tf.data.Dataset:
        """One pass over the shards: the number of each block of timelines, and its records."""
        names = tf.constant([str(self.directory / shard.file) for shard in self.manifest.shards])
        is_training = split == "train"
        if is_training:
            names = _shuffled(names, seed, 1)
        records = tf.data.Dataset.from_tensor_slices(names).interleave(
            tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=2, deterministic=True
        )
        if is_training:
            # Not by `Dataset.shuffle`: that mixes in TensorFlow's global seed, and a run that goes
            # on in another process would have another order.
            several = records.batch(8 * _BLOCK_USERS).enumerate()
            records = several.map(
                _as_is(lambda number, part: _shuffled(part, seed, 2, number))
            ).unbatch()
        return records.batch(_BLOCK_USERS).enumerate()

    def _packed(
        self,
        split: str,
        options: BatchOptions,
        seed: tf.Tensor,
        number: tf.Tensor,
        records: tf.Tensor,
    ) -> Block:
        """The block of the records, with the batch rows that are cut out of it, packed."""
        block = parse_timelines(records, self.schema)
        return pack_rows(block, self.schema, split, options, _block_seed(seed, number))

    def _batches(
        self,
        split: str,
        options: BatchOptions,
        seed: tf.Tensor,
        number: tf.Tensor,
        records: tf.Tensor,
    ) -> tf.data.Dataset:
        """The batches of one block."""
        block_seed = _block_seed(seed, number)
        make_block, make_batch = traced(self.schema, split, options)
        values = self._values if options.look_ups else {}
        counts = self._counts if options.sampling == "popularity" else {}
        block = make_block(records, block_seed, values, counts)
        indices = tf.range(num_batches(block))
        if split == "train":
            indices = tf.random.experimental.stateless_shuffle(indices, block_seed + 2)  # type: ignore[attr-defined]
        return tf.data.Dataset.from_tensor_slices(indices).map(
            _as_is(lambda index: make_batch(block, index, seed, values)),
            num_parallel_calls=2,
            deterministic=True,
        )


def _block_seed(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return tf.stack([_scalar(seed, 3), number * (1 << 32)])


def _shuffled(
    values: tf.Tensor, seed: tf.Tensor, salt: int, number: tf.Tensor | int = 0
) -> tf.Tensor:
    """Values in an order that depends on the seed, the salt and the number alone."""
    drawn = tf.stack([_scalar(seed, salt), tf.cast(number, tf.int64)])
    return tf.random.experimental.stateless_shuffle(values, drawn)  # type: ignore[attr-defined]


def _scalar(seed: tf.Tensor, salt: int) -> tf.Tensor:
    """One number drawn from a seed of two, different for each salt."""
    return tf.random.stateless_uniform(
        [], tf.stack([seed[0] + salt, seed[1]]), 0, 1 << 31, tf.int64
    )
