"""The two verbs that every model is: encode a history, score candidates."""

import warnings
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.schema import Schema

# Keras warns whenever a dataset of unknown length has ended. Batches filled up to a budget of
# tokens have no length that is known beforehand.
warnings.filterwarnings("ignore", "Your input ran out of data", module="keras")

History = dict[str, dict[str, tf.RaggedTensor]]
Candidates = dict[str, tf.RaggedTensor]
Moments: TypeAlias = tf.Tensor | dict[str, tf.RaggedTensor]


def num_rows(now: Moments) -> tf.Tensor:
    """Returns how many rows a batch has, given its `now`."""
    if isinstance(now, dict):
        return next(iter(now.values())).nrows()
    return tf.shape(now, tf.int64)[0]


def one_moment(now: Moments) -> tf.Tensor:
    """Returns the moment of each row, int64 [batch], for a memory that is of one moment.

    Raises:
        ValueError: The batch has a moment for each candidate.
    """
    if isinstance(now, dict):
        raise ValueError("this model needs one moment a row: batches without all_positions")
    return now


class Ranker(keras.Model):
    """A model that ranks candidates for a user at a moment.

    Subclasses implement `encode` and `score`; training, evaluation and export are
    written against these two, once for all models. A batch is a dictionary:

    - `user`: user rows, int64 [batch]; 0 for an unknown user. May be absent.
    - `now`: the moment of prediction in the schema's time unit, int64 [batch]; where all
      positions of a timeline are trained at once, the moment of each candidate: for each
      target group int64 [batch, (candidates)].
    - `history`: for each group `object`, `action`, `time`: int64 [batch, (length)],
      behaviours strictly before `now`; where a row has many moments, all that any of them
      may see. A group may be absent.
    - `candidates`: for each target group, object rows, int64 [batch, (candidates)]. A
      target may be absent, too.

    Calling the model on one gives the logits of all candidates, flat: those of the
    first target group row after row, then those of the next. Labels from
    `data_pipeline` are laid out alike, so any Keras loss and metric of flat labels and
    logits will do.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        catalog: For each group the arrays of `data_pipeline.Catalog`: what is known of
            its objects. Left out when a saved model is loaded: its file holds them.
    """

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

    def encode(
        self,
        history: History,
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Encodes each user's history once, whatever is going to be scored.

        Args:
            history: Behaviours by group, as in a batch.
            now: As in a batch. A model whose memory serves every moment does not read it.
            user: User rows, int64 [batch]; for models that know users by their id.
            training: Whether this is a training step.

        Returns:
            The memory: tensors whose first dimension is the batch.
        """
        raise NotImplementedError

    def score(
        self, memory: Any, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates against what `encode` returned.

        Args:
            memory: What `encode` returned for the batch.
            candidates: Object rows by group, as in a batch.
            now: As in a batch.
            training: Whether this is a training step.

        Returns:
            Logits, float32 [batch, (candidates)], by group.
        """
        raise NotImplementedError

    def call(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """Returns the logits, float32 [all candidates], of a batch."""
        user = inputs.get("user")
        memory = self.encode(inputs["history"], inputs["now"], user, training=training)
        logits = self.score(memory, inputs["candidates"], inputs["now"], training=training)
        flat = [logits[target].flat_values for target in self.schema.targets if target in logits]
        return tf.concat([tf.zeros([0]), *flat], axis=0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {**super().get_config(), "schema": self.schema.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Ranker":
        """Makes the model from what `get_config` returned."""
        return cls(**{**config, "schema": Schema.from_dict(config["schema"])})
