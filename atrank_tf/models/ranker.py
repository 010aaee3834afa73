"""The base of every model: it encodes a history and scores candidates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers.candidate_look_up import CandidateLookUp
from atrank_tf.layers.embedding_table import EmbeddingTable
from atrank_tf.layers.recurrence import Recurrence
from atrank_tf.losses import PairwiseLoss
from data_pipeline import ragged
from data_pipeline.batches.negatives import random_numbers
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema

History = dict[str, dict[str, tf.RaggedTensor]]
Candidates = dict[str, tf.RaggedTensor]
QueryTimes: TypeAlias = tf.Tensor | dict[str, tf.RaggedTensor]


def batch_size(query_time: QueryTimes) -> tf.Tensor:
    """Returns the number of batch rows, int64 [], given the `query_time` of a batch.

    Example:

    >>> int(batch_size(tf.constant([100, 200], tf.int64)))
    2
    """
    if isinstance(query_time, dict):
        return next(iter(query_time.values())).nrows()
    return tf.shape(query_time, tf.int64)[0]


def single_query_time(query_time: QueryTimes) -> tf.Tensor:
    """Returns the query time of each batch row, int64 [batch], for a state of one query time.

    Raises:
        ValueError: The batch has a query time for each candidate.

    Example:

    >>> single_query_time(tf.constant([100, 200], tf.int64)).numpy().tolist()
    [100, 200]
    >>> single_query_time({"item": tf.ragged.constant([[100, 150], [200]])})
    Traceback (most recent call last):
    ValueError: this model needs one query time a row: batches with rows='queries'
    """
    if isinstance(query_time, dict):
        raise ValueError("this model needs one query time a row: batches with rows='queries'")
    return query_time


class Ranker(keras.Model):
    """A model that ranks candidates for a user at a query time.

    A subclass implements two methods, and states its facts in class attributes:

    - `encode(history, query_time)` returns the user state, computed once per batch row.
    - `score_target(target, state, objects, query_times)` returns the logits of one target.

    Training, evaluation and export are written against these, once for all models. A batch is a
    dictionary:

    - `user`: user indices, int64 [batch]; 0 for an unknown user. May be absent.
    - `query_time`: in the schema's time unit, int64 [batch]; in batches of windows that of each
      candidate: for each target int64 [batch, (candidates)].
    - `history`: for each group `object`, `action` and `time`: int64 [batch, (behaviors)],
      strictly before the query time; in batches of windows all that any of its query times may
      see. A group may be absent.
    - `candidates`: for each target, object indices, int64 [batch, (candidates)]. A
      target may be absent, too.
    - `lists`: of targets that were logged in lists the list of each candidate, a number that tells
      it from the user's others: int64 [batch, (candidates)], by target. Losses by pairs read it.
    - `positions`: of targets that were logged with positions, in training that of each candidate:
      int64 [batch, (candidates)], by target.
    - `recurrence`: what the user did to each candidate before, for each target int64
      [batch, (candidates), numbers]: see `data_pipeline.recurrence`. Where it is absent, models
      that read it look candidates up in the `history`.

    Called on a batch, the model returns the logits of all candidates, flat: those of the
    first target, batch row after batch row, then those of the next. Labels from
    `data_pipeline` are laid out alike, so any Keras loss and metric of flat labels and
    logits will do.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        catalog: For each group the arrays of `data_pipeline.catalog`: what is known of
            its objects. Left out when a saved model is loaded: its file holds them.
        recurrence: Whether to look candidates up in all that the user did before. What is found
            is added to their scores. See `Recurrence`.
        **kwargs: As for `keras.Model`: `name`, and `dtype` for another precision.

    Attributes:
        serves_every_time: Whether one user state serves any later query time: it trains on
            windows.
        reads_history: Whether it reads what users did.
        needs_user_index: Whether it knows users by their index; it cannot be exported then.
        is_trained: Whether it has anything to train.
        default_loss: The loss that it is trained with by default.
        is_in_paper: Whether the ATRank paper has it, too.
        look_ups: What looks candidates up in all that users did; None where the model does not.
        best_settings: Settings of a run under which it ranks best, where those by default are
            worse.

    Example:

    >>> class LongestId(Ranker):
    ...     is_trained = False
    ...     def encode(self, history, query_time, user=None, training=False):
    ...         return query_time
    ...     def score_target(self, target, state, objects, query_times, training=False):
    ...         return objects.with_flat_values(tf.cast(objects.flat_values, tf.float32))
    """

    serves_every_time: ClassVar[bool] = False
    reads_history: ClassVar[bool] = True
    needs_user_index: ClassVar[bool] = False
    is_trained: ClassVar[bool] = True
    default_loss: ClassVar[str] = "pointwise"
    is_in_paper: ClassVar[bool] = False
    best_settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        recurrence: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.schema = schema
        self.recurrence: dict[str, Recurrence] = {}
        if recurrence:
            self.recurrence = {
                target: Recurrence(
                    schema, target, name=f"{target}_recurrence", dtype=self.dtype_policy
                )
                for target in schema.target_names
            }
        self.position_weights: dict[str, EmbeddingTable] = {}
        for target in schema.target_names if self.is_trained else ():
            if num_positions := schema.target_group(target).num_positions:
                # Zeros: at first all are alike.
                self.position_weights[target] = EmbeddingTable(
                    num_positions, 1, "zeros", name=f"{target}_positions", dtype=self.dtype_policy
                )
        self.look_ups = None
        if self.looks_up(recurrence=recurrence):
            self.look_ups = CandidateLookUp(schema, name="look_ups")
            if catalog:
                self.look_ups.set_catalog(catalog)
        # Shapes differ from batch to batch, and XLA would compile each anew. Keras' default is
        # XLA wherever there is a GPU.
        self.supports_jit = False
        self.built = True  # Models build their layers as they make them.

    @classmethod
    def trains_on_windows(cls, **arguments: Any) -> bool:
        """Returns whether a model made with some arguments can train on rows of windows."""
        return cls.serves_every_time

    @classmethod
    def looks_up(cls, **arguments: Any) -> bool:
        """Returns whether a model made with some arguments looks its candidates up."""
        return arguments.get("recurrence", False)

    @property
    def can_explain(self) -> bool:
        """Whether it can say what candidates attend to: it has `candidate_attention`."""
        return hasattr(self, "candidate_attention")

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Encodes each user's history once, whatever is going to be scored.

        Args:
            history: Behaviors by group, as in a batch.
            query_time: As in a batch. A model whose state serves every query time does not read
                it.
            user: User indices, int64 [batch]; for models that know users by their index.
            training: Whether this is a training step.

        Returns:
            The user state: tensors whose first dimension is the batch.
        """
        raise NotImplementedError

    def score_target(
        self,
        target: str,
        state: Any,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates of one target.

        Args:
            target: Name of the target.
            state: What `encode` returned for the batch.
            objects: Object indices, int64 [batch, (candidates)].
            query_times: int64 [batch, 1], or that of each candidate, padded: int64 [batch,
                candidates].
            training: Whether this is a training step.

        Returns:
            Logits, float32 [batch, (candidates)].
        """
        raise NotImplementedError

    def score(
        self,
        state: Any,
        candidates: Candidates,
        query_time: QueryTimes,
        recurrence: Candidates | None = None,
        positions: Candidates | None = None,
        training: bool = False,
    ) -> Candidates:
        """Scores candidates of all targets against a user state.

        How much was taken at a position, whatever stood there, is a number for each that is added
        to the logit: what it explains, the rest of the model need not.

        Args:
            state: What `encode` returned for the batch.
            candidates: Object indices by group, as in a batch.
            query_time: As in a batch.
            recurrence: As in a batch, or what `look_ups` found; read by models that look candidates
                up.
            positions: As in a batch. Where they are absent, all stand at the first.
            training: Whether this is a training step.

        Returns:
            Logits, float32 [batch, (candidates)], by group.
        """
        logits = {}
        for target, objects in candidates.items():
            scores = self.score_target(
                target, state, objects, query_times_of(query_time, target), training=training
            )
            if target in self.recurrence:
                if recurrence is None:
                    raise ValueError(
                        "this model looks candidates up: score needs their recurrence, from a "
                        "batch or from look_ups"
                    )
                numbers = recurrence[target].flat_values
                logits_with_habits = self.recurrence[target](
                    numbers, scores.flat_values, training=training
                )
                scores = ragged.like(objects, logits_with_habits)
            if target in self.position_weights:
                group = self.schema.target_group(target)
                of = tf.fill(tf.shape(scores.flat_values), tf.constant(group.first_position))
                if positions and target in positions:
                    of = tf.minimum(positions[target].flat_values, group.num_positions - 1)
                weights = self.position_weights[target](of, training=training)[:, 0]
                scores = ragged.like(objects, scores.flat_values + tf.cast(weights, tf.float32))
            logits[target] = scores
        return logits

    def call(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """Returns the logits, float32 [all candidates], of a batch."""
        history, query_time = inputs["history"], inputs["query_time"]
        recurrence = inputs.get("recurrence")
        if self.look_ups and recurrence is None:
            touched = self.look_ups.touched(history, batch_size(query_time))
            recurrence = self.look_ups.look_up(touched, inputs["candidates"], query_time)
        state = self.encode(history, query_time, inputs.get("user"), training=training)
        logits = self.score(
            state,
            inputs["candidates"],
            query_time,
            recurrence,
            inputs.get("positions"),
            training=training,
        )
        flat = [
            logits[target].flat_values for target in self.schema.target_names if target in logits
        ]
        return tf.concat([tf.zeros([0]), *flat], axis=0)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor | None:
        """Returns the loss of a batch; one by pairs is told the lists of its candidates."""
        if isinstance(self.loss, PairwiseLoss) and "lists" in x:
            numbers = tf.cast(self._list_numbers(x, y), tf.float32)
            y = tf.stack([tf.reshape(tf.cast(y, tf.float32), [-1]), numbers], axis=1)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _list_numbers(self, inputs: dict[str, Any], labels: tf.Tensor) -> tf.Tensor:
        """A number for the list of each candidate; a sampled positive and its negatives are one."""
        candidates = inputs["candidates"]
        targets = [target for target in self.schema.target_names if target in candidates]
        sizes = [tf.size(candidates[target].flat_values) for target in targets]
        keys = []
        for salt, (target, of_target) in enumerate(
            zip(targets, tf.split(tf.reshape(labels, [-1]), sizes), strict=True)
        ):
            users = ragged.per_value(candidates[target], inputs["user"])
            lists = tf.cumsum(tf.cast(of_target > 0, tf.int64))
            if target in inputs["lists"]:
                lists = inputs["lists"][target].flat_values
            keys.append(random_numbers(tf.constant(salt, tf.int64), users, lists))
        return tf.unique(tf.concat(keys, axis=0))[1]

    def save(
        self,
        filepath: str | Path,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Saves the model as a `.keras` file.

        Args:
            filepath: Where; it ends in `.keras`, but for a directory.
            overwrite: As for `keras.Model.save`.
            zipped: As for `keras.Model.save`: False for a directory.
            **kwargs: As for `keras.Model.save`.

        Raises:
            UserError: The path has another suffix.
        """
        if zipped is not False and not str(filepath).endswith(".keras"):
            raise UserError(
                f"{filepath}: models with ragged inputs are saved as .keras files, their weights "
                "by save_weights; to serve one, export its run: python -m export.export_model"
            )
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Refuses: a SavedModel is made of a run, by `export.export_model`.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f"{filepath}: Keras' export cannot take ragged inputs; python -m export.export_model "
            "exports a run, with signatures that take raw ids"
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "schema": self.schema.to_dict(),
            "recurrence": bool(self.recurrence),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Ranker":
        """Makes the model from what `get_config` returned."""
        return cls(**{**config, "schema": Schema.from_dict(config["schema"])})


def query_times_of(query_time: QueryTimes, target: str) -> tf.Tensor:
    """Returns the query time of each candidate of a target: int64 [batch, candidates or 1].

    Example:

    >>> query_times_of({"item": tf.ragged.constant([[100, 150], [200]])}, "item").numpy().tolist()
    [[100, 150], [200, 0]]
    >>> query_times_of(tf.constant([100, 200]), "item").numpy().tolist()
    [[100], [200]]
    """
    if isinstance(query_time, dict):
        return ragged.pad(query_time[target])
    return query_time[:, tf.newaxis]
