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
from data_pipeline.catalog import target_counts
from data_pipeline.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class TokenEncoder(keras.layers.Layer):
    """Embeds all groups of a schema: what the models that read histories share.

    It holds an embedding table for each vocabulary, a `BehaviorEncoder` for each group, and
    an `ObjectBias` for each target.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        width: Width of the tokens.
        embedding_width: Width of an object id's embedding, and of each group's behavior
            embedding space.
        feature_width: Width of the embedding of a side feature.
        time_bounds: As for `BehaviorEncoder`.
        l2: Weight of the L2 penalty on the embeddings in use.
        time: As for `BehaviorEncoder`.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> encoder = TokenEncoder(schema, width=16, embedding_width=8, feature_width=4)
    >>> encoder.set_catalog(catalog)
    >>> encoder.candidates("item", tf.ragged.constant([[3, 5], [2]], tf.int64)).shape
    TensorShape([2, None, 16])

    Reference:
        ATRank, "Behavior embedding spaces" and the projection F_M of "latent semantic spaces".
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
        widths = {
            "width": width,
            "embedding_width": embedding_width,
            "feature_width": feature_width,
        }
        for name, value in widths.items():
            if value < 1:
                raise ValueError(f"{name} is {value}: expected 1 or more")
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
            is_of_ids = vocabulary.name in group_names
            tables[vocabulary.name] = EmbeddingTable(
                vocabulary.num_embeddings,
                embedding_width if is_of_ids else feature_width,
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
            target: ObjectBias(
                schema.vocabulary(schema.target(target).group).num_embeddings, name=f"{target}_bias"
            )
            for target in schema.target_names
        }
        # Targets of one group tell their candidates apart by these alone.
        groups = [schema.target(target).group for target in schema.target_names]
        self.heads = {
            target: self._new_head(target)
            for target, group in zip(schema.target_names, groups, strict=True)
            if groups.count(group) > 1
        }
        self.built = True

    def _new_head(self, target: str) -> keras.layers.Dense:
        identity = keras.initializers.Identity()
        head = keras.layers.Dense(
            self.width,
            kernel_initializer=identity,
            name=f"{target}_head",
            dtype=self.dtype_policy,
        )
        head.build((None, self.width))
        return head

    def set_catalog(self, catalog: dict[str, dict[str, np.ndarray]]) -> None:
        """Sets the objects of each group, and biases where negatives are sampled.

        Args:
            catalog: For each group the arrays of `data_pipeline.Catalog`.
        """
        for name, objects in catalog.items():
            self.behaviors[name].objects.set_objects(objects)
        for target, bias in self.biases.items():
            group = self.schema.target_group(target)
            if not group.impressions:
                indices = catalog[group.name]["embedding_indices"]
                bias.set_log_odds(indices, target_counts(catalog, self.schema, target))

    def call(
        self,
        history: dict[str, dict[str, tf.RaggedTensor]],
        query_time: tf.Tensor | None,
        num_rows: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Encodes all behaviors of each batch row, group after group.

        Args:
            history: By group int64 [batch, (behaviors)] `object`, `action` and `time`; a group
                may be absent.
            query_time: int64 [batch]; read where there are time bounds.
            num_rows: Number of batch rows, int64 [].
            training: Passed on to the tables.

        Returns:
            Tokens, float [batch, (behaviors), width].
        """
        tokens = [
            self.behaviors[group.name](history[group.name], query_time, training=training)
            for group in self.schema.groups
            if group.name in history
        ]
        no_tokens = tf.zeros([0, self.width], self.compute_dtype)
        return ragged.concat_rows(tokens or [ragged.empty_rows(no_tokens, num_rows)])

    def times(
        self, history: dict[str, dict[str, tf.RaggedTensor]], num_rows: tf.Tensor
    ) -> tf.RaggedTensor:
        """Returns when each behavior was, in the order of the tokens.

        Args:
            history: As for `call`.
            num_rows: Number of batch rows, int64 [].

        Returns:
            int64 [batch, (behaviors)].
        """
        times = [history[g.name]["time"] for g in self.schema.groups if g.name in history]
        no_times = tf.zeros([0], tf.int64)
        return ragged.concat_rows(times or [ragged.empty_rows(no_times, num_rows)])

    def candidates(
        self, target: str, objects: tf.RaggedTensor, training: bool = False
    ) -> tf.RaggedTensor:
        """Encodes candidates.

        Args:
            target: Name of the target.
            objects: Object indices, int64 [batch, (candidates)].
            training: Passed on to the tables.

        Returns:
            float [batch, (candidates), width].
        """
        group = self.schema.target(target).group
        encoded = self.behaviors[group].candidates(objects, training=training)
        if target not in self.heads:
            return encoded
        return ragged.like(encoded, self.heads[target](encoded.flat_values))

    def bias(self, target: str, objects: tf.RaggedTensor) -> tf.Tensor:
        """Returns the bias of each candidate.

        Args:
            target: Name of the target.
            objects: Object indices, int64 [batch, (candidates)].

        Returns:
            float32 [all candidates].
        """
        group = self.schema.target(target).group
        indices = self.behaviors[group].objects.embedding_index(objects.flat_values)
        return self.biases[target](indices)

    def with_bias(
        self, target: str, objects: tf.RaggedTensor, scores: tf.Tensor
    ) -> tf.RaggedTensor:
        """Adds the bias of each candidate to its score.

        Args:
            target: Name of the target.
            objects: Object indices, int64 [batch, (candidates)].
            scores: float [all candidates].

        Returns:
            Logits, float32 [batch, (candidates)].
        """
        return ragged.like(objects, tf.cast(scores, tf.float32) + self.bias(target, objects))

    def logits(
        self, target: str, objects: tf.RaggedTensor, h: tf.RaggedTensor, e: tf.RaggedTensor
    ) -> tf.RaggedTensor:
        """Returns f(h, e) = h . e / sqrt(width) + bias of each candidate.

        Args:
            target: Name of the target.
            objects: Object indices, int64 [batch, (candidates)].
            h: The candidates, float [batch, (candidates), width].
            e: What each read of the history, float [batch, (candidates), width].

        Returns:
            float32 [batch, (candidates)].
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
