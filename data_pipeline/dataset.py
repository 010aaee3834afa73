"""`TimelineData`: prepared data, and the tf.data pipelines that read it."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from atrank_tf.errors import UserError
from atrank_tf.schema import Schema
from data_pipeline.catalog import load_catalog
from data_pipeline.chunk import Chunk, parse_timelines
from data_pipeline.examples import make_batch, prepare_negatives
from data_pipeline.manifest import Manifest
from data_pipeline.rows import Cut, find_rows, num_batches

SPLITS = ("train", "validation", "test")

_MAX_HISTORY = 100
_TOKEN_BUDGET = 3072

# Users whose timelines are cut into batches together: enough to fill batches of like
# length, few enough to hold in memory with histories of tens of thousands of events.
_CHUNK_USERS = 1024

# No function here branches on a tensor in Python, and autograph takes its time to find that out.
_as_is = tf.autograph.experimental.do_not_convert


class TimelineData:
    """What `prepare` wrote, opened for training, evaluation and export.

    Args:
        directory: The output directory of `prepare`.
        groups: Names of the groups to read; () for all.
        targets: Names of the target groups to predict; () for all that are read.

    Attributes:
        directory: That directory.
        schema: Its schema, sizes filled in, of the groups and targets chosen.
        manifest: What it holds: users, events, targets, shards, fingerprint.
        catalog: What is known of each group's objects, for the model's constructor.

    Raises:
        UserError: The directory holds no prepared data, or only part of it; or there is no
            such group or target.
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
        return sum(self.manifest.targets[split][target] for target in self.schema.targets)

    def batches(
        self,
        split: str,
        num_negatives: int | None = None,
        max_history: int = _MAX_HISTORY,
        token_budget: int = _TOKEN_BUDGET,
        max_moments: int | None = None,
        all_positions: bool = False,
        single_target: bool = False,
        target_weights: Mapping[str, float] | None = None,
        seed: int = 0,
        epoch: int | None = None,
    ) -> tf.data.Dataset:
        """Returns batches of (inputs, labels), as `atrank_tf.Ranker` takes them.

        A row is a user at a moment at which he had targets. The history is encoded
        once for all of them: the targets of that moment, and negatives drawn uniformly
        from the objects that the user never touched. Where targets are labelled, the
        labelled ones are the candidates and nothing is drawn.

        With `all_positions` a row has many of a user's targets: those of a stretch of half
        as many behaviours and targets as `max_history`, with histories for all of them. `now`
        is the moment of each candidate. It is for models whose memory serves every moment,
        and hides from each what came later.

        Args:
            split: "train", "validation" or "test". Training batches come shuffled, with
                fresh negatives each time the dataset is iterated; the others always
                the same, whatever the model.
            num_negatives: For "train" negatives of each positive (default 1), otherwise
                of each moment (default 99). No object comes twice among a moment's
                negatives, unless training asks for more than there are.
            max_history: Newest behaviours of each group that a history keeps.
            token_budget: Behaviours and candidates in a batch, about. Histories of like
                length share a batch.
            max_moments: Moments that a user contributes to an epoch, chosen at random;
                None for all.
            all_positions: Whether a row has a stretch of targets; for "train" alone.
            single_target: Whether the candidates of a batch are all of one target group, those
                of the others coming in batches of their own: the paper's all2all.
            target_weights: Weight in the loss of each target group, 1 where it is not named;
                None for batches without weights.
            seed: Same seed, same batches.
            epoch: Which epoch of the seed to give. None to give one after the other, a new
                one at each iteration.

        Returns:
            A finite dataset, one epoch long; with `target_weights` of (inputs, labels,
            weights), float32 [candidates] like the labels.
        """
        cut = self._cut(
            split,
            num_negatives,
            max_history,
            token_budget,
            max_moments,
            all_positions,
            single_target,
            target_weights,
        )
        if split == "train" and epoch is None:
            draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
        else:
            draws = tf.data.Dataset.from_tensors(tf.constant(epoch or 0, tf.int64))
        return draws.flat_map(_as_is(lambda draw: self._epoch(cut, seed, draw))).prefetch(4)

    def epochs(self, first: int, last: int, seed: int = 0, **options: Any) -> tf.data.Dataset:
        """Returns the training batches of several epochs, one epoch after the other.

        An iteration of `batches` costs about a second before its first batch, in which
        TensorFlow makes its graphs ready. Here that is paid once for all epochs.

        Args:
            first: First epoch of the seed to give.
            last: The epoch to stop before.
            seed: Same seed, same batches.
            **options: Those of `batches` that are left.

        Returns:
            Of each batch the number of its epoch, int64 [], inputs and labels.
        """
        cut = self._cut("train", **options)

        @_as_is
        def numbered(epoch: tf.Tensor) -> tf.data.Dataset:
            return self._epoch(cut, seed, epoch).map(_as_is(lambda *batch: (epoch, *batch)))

        return tf.data.Dataset.range(first, last).flat_map(numbered).prefetch(4)

    def count_batches(self, split: str, **options: Any) -> int:
        """Returns how many batches `batches` gives, without making them.

        That is for some epoch: in training each is divided anew, hardly differently.

        Args:
            split: As for `batches`.
            **options: Those of `batches`, `seed` and `epoch` left out.
        """
        cut = self._cut(split, **options)
        seed = tf.zeros([2], tf.int64)
        # Without a graph: to trace one would take longer than a pass over all but the largest data.
        return sum(
            int(num_batches(self._rows(cut, seed, number, timelines)))
            for number, timelines in self._timelines(cut, seed)
        )

    def _cut(
        self,
        split: str,
        num_negatives: int | None = None,
        max_history: int = _MAX_HISTORY,
        token_budget: int = _TOKEN_BUDGET,
        max_moments: int | None = None,
        all_positions: bool = False,
        single_target: bool = False,
        target_weights: Mapping[str, float] | None = None,
    ) -> Cut:
        if split not in SPLITS:
            raise UserError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        if num_negatives is None:
            num_negatives = 1 if split == "train" else 99
        if num_negatives < 1 or max_history < 1 or token_budget < 1:
            raise UserError("num_negatives, max_history and token_budget: expected 1 or more")
        if all_positions and (split != "train" or max_moments is not None):
            raise UserError("all_positions: for training alone, and without max_moments")
        for target, weight in (target_weights or {}).items():
            if target not in self.schema.targets or not 0 <= weight < math.inf:
                raise UserError(
                    f"target_weights: {target!r} is {weight}: expected one of "
                    f"{', '.join(self.schema.targets)} and a number of 0 or more"
                )
        return Cut(
            split,
            num_negatives,
            max_history,
            token_budget,
            max_moments,
            all_positions,
            single_target,
            target_weights,
        )

    def _epoch(self, cut: Cut, seed: int, draw: tf.Tensor) -> tf.data.Dataset:
        """The batches of one epoch."""
        epoch_seed = tf.stack([seed, draw])
        return self._timelines(cut, epoch_seed).flat_map(
            _as_is(lambda number, timelines: self._batches(cut, epoch_seed, number, timelines))
        )

    def _timelines(self, cut: Cut, seed: tf.Tensor) -> tf.data.Dataset:
        """One pass over the shards: the number of each chunk of users, and their records."""
        names = [str(self.directory / shard.file) for shard in self.manifest.shards]
        files = tf.data.Dataset.from_tensor_slices(names)
        is_training = cut.split == "train"
        if is_training:
            files = files.shuffle(len(names), _scalar(seed, 1), reshuffle_each_iteration=False)
        records = files.interleave(
            tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=2, deterministic=True
        )
        if is_training:
            records = records.shuffle(
                8 * _CHUNK_USERS, _scalar(seed, 2), reshuffle_each_iteration=False
            )
        return records.batch(_CHUNK_USERS).enumerate()

    def _rows(self, cut: Cut, seed: tf.Tensor, number: tf.Tensor, timelines: tf.Tensor) -> Chunk:
        """The chunk of some timelines, with the rows that are cut out of it."""
        chunk = parse_timelines(timelines, self.schema)
        return find_rows(chunk, self.schema, cut, _chunk_seed(seed, number))

    def _batches(
        self, cut: Cut, seed: tf.Tensor, number: tf.Tensor, timelines: tf.Tensor
    ) -> tf.data.Dataset:
        """The batches of one chunk."""
        chunk = prepare_negatives(self._rows(cut, seed, number, timelines), self.schema, cut.split)
        indices = tf.range(num_batches(chunk))
        if cut.split == "train":
            order = _chunk_seed(seed, number) + 2
            indices = tf.random.experimental.stateless_shuffle(indices, order)
        return tf.data.Dataset.from_tensor_slices(indices).map(
            _as_is(lambda index: make_batch(chunk, index, self.schema, cut, seed)),
            num_parallel_calls=2,
            deterministic=True,
        )


def _chunk_seed(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return tf.stack([_scalar(seed, 3), number * (1 << 32)])


def _scalar(seed: tf.Tensor, salt: int) -> tf.Tensor:
    """One number drawn from a seed of two, different for each salt."""
    return tf.random.stateless_uniform(
        [], tf.stack([seed[0] + salt, seed[1]]), 0, 1 << 31, tf.int64
    )
