"""From the behaviors and candidates of every group to vectors of one width."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers.behavior_encoder import BehaviorEncoder, TimeEncoding
from atrank_tf.layers.embedding_table import EmbeddingTable
from atrank_tf.layers.object_bias import ObjectBias
from atrank_tf.layers.object_encoder import ObjectEncoder
from data_pipeline import ragged
from data_pipeline.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class TokenEncoder(keras.layers.Layer):
    """Embeds all groups of a schema: what the models that read histories share.

    It holds an embedding table for each vocabulary, a `BehaviorEncoder` for each group, and
    for each target group a bias of every object.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        width: Width of the tokens.
        embedding_width: Width of an object id's embedding, and of each group's behavior
            embedding space.
        feature_width: Width of the embedding of a side feature.
        time_bounds: As for `BehaviorEncoder`.
        l2: Weight of the L2 penalty on the embeddings in use.
        time: As for `BehaviorEncoder`.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        embedding_width: int,
        feature_width: int,
        time_bounds: Sequence[int] = (),
        l2: float = 0.0,
        time: TimeEncoding = "added",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name in ("width", "embedding_width", "feature_width"):
            if locals()[name] < 1:
                raise ValueError(f"{name} is {locals()[name]}: expected 1 or more")
        if not l2 >= 0:
            raise ValueError(f"l2 is {l2}: expected 0 or more")
        self.schema = schema
        self.width = width
        self.embedding_width = embedding_width
        self.feature_width = feature_width
        self.time_bounds = list(time_bounds)
        self.l2 = l2
        self.time = time
        group_names = {group.name for group in schema.groups}
        tables = {}
        for vocabulary in schema.vocabularies:
            size = embedding_width if vocabulary.name in group_names else feature_width
            tables[vocabulary.name] = EmbeddingTable(
                vocabulary.num_embeddings,
                size,
                l2=l2,
                name=f"{vocabulary.name}_table",
                dtype=self.dtype_policy,
            )
        self.behaviors = {
            group.name: BehaviorEncoder(
                ObjectEncoder(
                    group,
                    tables,
                    embedding_width,
                    name=f"{group.name}_objects",
                    dtype=self.dtype_policy,
                ),
                time_bounds=time_bounds,
                behavior_width=embedding_width,
                width=width,
                l2=l2,
                time=time,
                name=f"{group.name}_behaviors",
                dtype=self.dtype_policy,
            )
            for group in schema.groups
        }
        self.biases = {
            target: ObjectBias(schema.vocabulary(target).num_embeddings, name=f"{target}_bias")
            for target in schema.targets
        }
        self.built = True

    def set_catalog(self, catalog: dict[str, dict[str, np.ndarray]]) -> None:
        """Tells each group's encoder its objects; where negatives are sampled, sets biases.

        Args:
            catalog: For each group the arrays of `data_pipeline.Catalog`.
        """
        for name, objects in catalog.items():
            self.behaviors[name].objects.set_objects(objects)
            if name in self.biases and not self.schema.group(name).impressions:
                self.biases[name].set_log_odds(objects)

    def call(
        self,
        history: dict[str, dict[str, tf.RaggedTensor]],
        query_time: tf.Tensor | None,
        rows: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Encodes all behaviors of each user, group after group.

        Args:
            history: As in a batch; a group may be absent.
            query_time: The query time, int64 [batch]; read where there are time bounds.
            rows: How many users there are, int64 [].
            training: Passed on to the tables.

        Returns:
            Tokens, float [batch, (behaviors), width].
        """
        tokens = [
            self.behaviors[group.name](history[group.name], query_time, training=training)
            for group in self.schema.groups
            if group.name in history
        ]
        nothing = tf.zeros([0, self.width], self.compute_dtype)
        return ragged.concat_rows(tokens or [ragged.empty_rows(nothing, rows)])

    def times(
        self, history: dict[str, dict[str, tf.RaggedTensor]], rows: tf.Tensor
    ) -> tf.RaggedTensor:
        """Returns when each behavior was, in the order of the tokens: int64 [batch, (n)]."""
        times = [history[g.name]["time"] for g in self.schema.groups if g.name in history]
        nothing = tf.zeros([0], tf.int64)
        return ragged.concat_rows(times or [ragged.empty_rows(nothing, rows)])

    def candidates(
        self, target: str, objects: tf.RaggedTensor, training: bool = False
    ) -> tf.RaggedTensor:
        """Encodes candidates: object indices [batch, (n)] to float [batch, (n), width]."""
        return self.behaviors[target].candidates(objects, training=training)

    def bias(self, target: str, objects: tf.RaggedTensor) -> tf.Tensor:
        """Returns the bias of each candidate: object indices [batch, (n)] to flat float32 [all]."""
        indices = self.behaviors[target].objects.embedding_index(objects.flat_values)
        return self.biases[target](indices)

    def with_bias(
        self, target: str, objects: tf.RaggedTensor, scores: tf.Tensor
    ) -> tf.RaggedTensor:
        """Adds the bias of each candidate to its score.

        Args:
            target: The target group.
            objects: Object rows of the candidates, int64 [batch, (n)].
            scores: Flat, float [all candidates].

        Returns:
            Logits, float32 [batch, (n)].
        """
        return ragged.like(objects, tf.cast(scores, tf.float32) + self.bias(target, objects))

    def logits(
        self, target: str, objects: tf.RaggedTensor, h: tf.RaggedTensor, e: tf.RaggedTensor
    ) -> tf.RaggedTensor:
        """Returns f(h, e) = h . e / sqrt(width) + bias of each candidate.

        Args:
            target: The target group.
            objects: Object rows of the candidates, int64 [batch, (n)].
            h: The candidates, float [batch, (n), width].
            e: What each read of the history, float [batch, (n), width].

        Returns:
            float32 [batch, (n)].
        """
        h_values, e_values = (tf.cast(x.flat_values, tf.float32) for x in (h, e))
        scores = tf.reduce_sum(h_values * e_values, axis=-1) / math.sqrt(self.width)
        return self.with_bias(target, objects, scores)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "schema": self.schema.to_dict(),
            "width": self.width,
            "embedding_width": self.embedding_width,
            "feature_width": self.feature_width,
            "time_bounds": self.time_bounds,
            "l2": self.l2,
            "time": self.time,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TokenEncoder":
        """Makes the layer from what `get_config` returned."""
        return cls(**{**config, "schema": Schema.from_dict(config["schema"])})
