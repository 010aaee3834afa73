"""F_M(u): from the behaviors of one group to tokens of the overall width."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from atrank_tf.layers.embedding_table import EmbeddingTable
from atrank_tf.layers.object_encoder import ObjectEncoder
from atrank_tf.layers.time_buckets import time_bucket
from data_pipeline import ragged

TimeEncoding = Literal["added", "concatenated"]


@keras.saving.register_keras_serializable("atrank_tf")
class BehaviorEncoder(keras.layers.Layer):
    """Embeds the behaviors of one group and maps them to the overall width.

        u = emb_g(object) + time_g[bucket(query_time - time)] + action_g[action]
        token = F_M_g(u), linear

    or, with the one-hot bucket concatenated, as in the released code:

        token = F_M_g([emb_g(object) + action_g[action], one_hot(bucket(query_time - time))])

    A candidate is an object that nothing has been done to yet: it is F_M_g(emb_g(object)).

    Args:
        objects: The group's object encoder.
        time_bounds: What divides the gaps into buckets, for `time_bucket`; () to leave
            time to other layers.
        behavior_width: Width of the group's behavior embedding space.
        width: Overall width of the tokens.
        l2: Weight of the L2 penalty on the vectors in use.
        time: "added" or "concatenated"; see above.

    Reference:
        ATRank, "Behavior embedding spaces" and the projection F_M of "latent semantic spaces".
    """

    def __init__(
        self,
        objects: ObjectEncoder,
        time_bounds: Sequence[int],
        behavior_width: int,
        width: int,
        l2: float = 0.0,
        time: TimeEncoding = "added",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if time not in get_args(TimeEncoding):
            raise ValueError(
                f"time is {time!r}: expected one of {', '.join(get_args(TimeEncoding))}"
            )
        self.objects = objects
        self.time_bounds = list(time_bounds)
        self.behavior_width = behavior_width
        self.width = width
        self.l2 = l2
        self.time = time
        num_actions = objects.group.num_actions
        self.times = None
        if self.time_bounds:
            num_buckets = len(self.time_bounds) + 1
            # A one-hot column times a matrix is a look-up of the matrix' rows.
            time_width = behavior_width if time == "added" else width
            self.times = EmbeddingTable(
                num_buckets, time_width, l2=l2, name="times", dtype=self.dtype_policy
            )
        self.actions = EmbeddingTable(
            num_actions, behavior_width, l2=l2, name="actions", dtype=self.dtype_policy
        )
        self.project = keras.layers.Dense(width, name="project", dtype=self.dtype_policy)
        self.project.build((None, behavior_width))
        self.built = True

    def call(
        self,
        history: dict[str, tf.RaggedTensor],
        query_time: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Encodes the group's behaviors.

        Args:
            history: `object` (object indices), `action` (action indices) and `time`, each
                int64 [batch, (length)].
            query_time: The query time, int64 [batch]; read where there are bounds.
            training: Passed on to the tables.

        Returns:
            Tokens, float [batch, (length), width].
        """
        rows = history["object"]
        behaviors = self.objects(rows.flat_values, training=training)
        behaviors += self.actions(history["action"].flat_values, training=training)
        if self.times is None:
            return ragged.like(rows, self.project(behaviors))
        gaps = ragged.per_value(rows, query_time) - history["time"].flat_values
        times = self.times(time_bucket(gaps, self.time_bounds), training=training)
        if self.time == "added":
            return ragged.like(rows, self.project(behaviors + times))
        return ragged.like(rows, self.project(behaviors) + times)

    def candidates(self, objects: tf.RaggedTensor, training: bool = False) -> tf.RaggedTensor:
        """Encodes candidates: object indices [batch, (length)] to [batch, (length), width]."""
        return ragged.like(
            objects, self.project(self.objects(objects.flat_values, training=training))
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "objects": keras.saving.serialize_keras_object(self.objects),
            "time_bounds": self.time_bounds,
            "behavior_width": self.behavior_width,
            "width": self.width,
            "l2": self.l2,
            "time": self.time,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BehaviorEncoder":
        """Makes the layer, and an object encoder of its own, from `get_config`'s result."""
        objects = keras.saving.deserialize_keras_object(config["objects"])
        return cls(**{**config, "objects": objects})
