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
        time_bounds: Bounds of the buckets of the gap, for `time_bucket`; () to leave time to
            other layers.
        behavior_width: Width of the group's behavior embedding space.
        width: Overall width of the tokens.
        l2: Weight of the L2 penalty on the embeddings in use.
        time: "added" or "concatenated"; see above.

    Example:

    >>> group = Group("item", actions=("buy", "view"), num_objects=6)
    >>> objects = ObjectEncoder(group, {"item": EmbeddingTable(6, width=8)}, width=8)
    >>> encoder = BehaviorEncoder(objects, time_bounds=[60, 3600], behavior_width=8, width=16)
    >>> history = {
    ...     "object": tf.ragged.constant([[3, 1], [2]], tf.int64),
    ...     "action": tf.ragged.constant([[1, 2], [1]], tf.int64),
    ...     "time": tf.ragged.constant([[10, 95], [40]], tf.int64),
    ... }
    >>> encoder(history, query_time=tf.constant([100, 100], tf.int64)).shape
    TensorShape([2, None, 16])

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
            # A one-hot bucket times a matrix is a look-up in the matrix.
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
                int64 [batch, (behaviors)].
            query_time: int64 [batch]; read where there are bounds.
            training: Passed on to the tables.

        Returns:
            Tokens, float [batch, (behaviors), width].
        """
        objects = history["object"]
        behaviors = self.objects(objects.flat_values, training=training)
        behaviors += self.actions(history["action"].flat_values, training=training)
        if self.times is None:
            return ragged.like(objects, self.project(behaviors))
        gaps = ragged.per_value(objects, query_time) - history["time"].flat_values  # type: ignore[arg-type]
        times = self.times(time_bucket(gaps, self.time_bounds), training=training)
        if self.time == "added":
            return ragged.like(objects, self.project(behaviors + times))
        return ragged.like(objects, self.project(behaviors) + times)

    def candidates(self, objects: tf.RaggedTensor, training: bool = False) -> tf.RaggedTensor:
        """Encodes candidates.

        Args:
            objects: Object indices, int64 [batch, (candidates)].
            training: Passed on to the tables.

        Returns:
            float [batch, (candidates), width].
        """
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
        """Makes the layer and its object encoder from what `get_config` returned."""
        objects = keras.saving.deserialize_keras_object(config["objects"])
        return cls(**{**config, "objects": objects})
