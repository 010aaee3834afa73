"""The two verbs that every model is: encode a history, score candidates."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema

History = dict[str, dict[str, tf.RaggedTensor]]
Candidates = dict[str, tf.RaggedTensor]
QueryTimes: TypeAlias = tf.Tensor | dict[str, tf.RaggedTensor]


def batch_size(query_time: QueryTimes) -> tf.Tensor:
    """Returns how many rows a batch has, given its `query_time`."""
    if isinstance(query_time, dict):
        return next(iter(query_time.values())).nrows()
    return tf.shape(query_time, tf.int64)[0]


def single_query_time(query_time: QueryTimes) -> tf.Tensor:
    """Returns the query time of each row, int64 [batch], for a state that is of one time.

    Raises:
        ValueError: The batch has a query time for each candidate.
    """
    if isinstance(query_time, dict):
        raise ValueError("this model needs one query time a row: batches with rows='queries'")
    return query_time


class Ranker(keras.Model):
    """A model that ranks candidates for a user at a query time.

    A subclass implements two methods, and states what is true of it:

    - `encode(history, query_time)` returns the user state, computed once per row.
    - `score_target(target, state, objects, query_times)` returns the logits of one target group.

    Training, evaluation and export are written against these, once for all models. A batch is a
    dictionary:

    - `user`: user indices, int64 [batch]; 0 for an unknown user. May be absent.
    - `query_time`: when candidates are asked for, in the schema's time unit, int64 [batch]; in
      rows of windows, of each candidate: for each target group int64 [batch, (candidates)].
    - `history`: for each group `object`, `action`, `time`: int64 [batch, (length)],
      behaviors strictly before `query_time`; where a row has many, all that any of them may see.
      A group may be absent.
    - `candidates`: for each target group, object indices, int64 [batch, (candidates)]. A
      target may be absent, too.

    Calling the model on one gives the logits of all candidates, flat: those of the
    first target group row after row, then those of the next. Labels from
    `data_pipeline` are laid out alike, so any Keras loss and metric of flat labels and
    logits will do.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        catalog: For each group the arrays of `data_pipeline.catalog`: what is known of
            its objects. Left out when a saved model is loaded: its file holds them.

    Attributes:
        serves_every_time: Whether one state answers any later query: it trains on windows.
        reads_history: Whether it reads what users did.
        needs_user_index: Whether it knows users by their index; it cannot be exported then.
        is_trained: Whether it has anything to train.
        default_loss: The loss that it is trained with by default.
        is_in_paper: Whether the ATRank paper compares it.
        best_settings: Settings of a run under which it is at its best, where the defaults would
            hold it back.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.schema = schema
        # Each batch has shapes of its own, and XLA would compile it anew. Keras' default asks
        # for XLA wherever there is a GPU.
        self.supports_jit = False
        self.built = True  # Models build their layers as they make them.

    @classmethod
    def trains_on_windows(cls, **arguments: Any) -> bool:
        """Returns whether a model made with some arguments can train on rows of windows."""
        return cls.serves_every_time

    @property
    def can_explain(self) -> bool:
        """Whether it tells what candidates attend to: it has `candidate_attention`."""
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
            query_time: As in a batch. A model whose state serves every time does not read it.
            user: User indices, int64 [batch]; for models that know users by their id.
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
        """Scores candidates of one target group.

        Args:
            target: The group.
            state: What `encode` returned for the batch.
            objects: Object indices, int64 [batch, (candidates)].
            query_times: int64 [batch, 1], or of each candidate, padded: int64 [batch, candidates].
            training: Whether this is a training step.

        Returns:
            Logits, float32 [batch, (candidates)].
        """
        raise NotImplementedError

    def score(
        self, state: Any, candidates: Candidates, query_time: QueryTimes, training: bool = False
    ) -> Candidates:
        """Scores candidates against what `encode` returned.

        Args:
            state: What `encode` returned for the batch.
            candidates: Object indices by group, as in a batch.
            query_time: As in a batch.
            training: Whether this is a training step.

        Returns:
            Logits, float32 [batch, (candidates)], by group.
        """
        return {
            target: self.score_target(
                target, state, objects, query_times_of(query_time, target), training=training
            )
            for target, objects in candidates.items()
        }

    def call(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """Returns the logits, float32 [all candidates], of a batch."""
        query_time = inputs["query_time"]
        state = self.encode(inputs["history"], query_time, inputs.get("user"), training=training)
        logits = self.score(state, inputs["candidates"], query_time, training=training)
        flat = [logits[target].flat_values for target in self.schema.targets if target in logits]
        return tf.concat([tf.zeros([0]), *flat], axis=0)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the model as a `.keras` file; see `keras.Model.save`.

        Raises:
            UserError: The path has another suffix.
        """
        if not str(filepath).endswith(".keras"):
            raise UserError(
                f"{filepath}: models with ragged inputs are saved as .keras files, their weights "
                "by save_weights; to serve one, export its run: python -m export.export_model"
            )
        super().save(filepath, *args, **kwargs)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Names the way to a SavedModel: Keras' own would take indices, not raw ids.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f"{filepath}: Keras' export cannot take ragged inputs; export.export_model exports a "
            "run, with signatures that take raw ids"
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {**super().get_config(), "schema": self.schema.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Ranker":
        """Makes the model from what `get_config` returned."""
        return cls(**{**config, "schema": Schema.from_dict(config["schema"])})


def query_times_of(query_time: QueryTimes, target: str) -> tf.Tensor:
    """Returns when each candidate of a target is asked for: int64 [batch, candidates or 1]."""
    if isinstance(query_time, dict):
        return ragged.pad(query_time[target])
    return query_time[:, tf.newaxis]
