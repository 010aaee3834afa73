"""emb_g: from the object indices of one group to vectors."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers.embedding_table import EmbeddingTable
from data_pipeline import ragged
from data_pipeline.schema import Group, feature_vocabulary


@keras.saving.register_keras_serializable("atrank_tf")
class ObjectEncoder(keras.layers.Layer):
    """Embeds objects of one group by their id and their side features.

        emb_g(o) = W_g [embedding of o's id, embedding of its 1st feature, 2nd, ...] + b_g

    Of a multi-valued feature it takes the mean over the object's values; zeros for none.

    Which values an object has is part of the layer, as weights that are not trained:
    whoever scores names objects alone, and a saved model holds all it needs.

    Args:
        group: The group, with the sizes that preparation filled in.
        tables: The embedding table of each vocabulary, shared among the groups.
        width: Width of the result.

    Example:

    >>> group = Group("item", features=(Feature("color", num_values=3),), num_objects=3)
    >>> tables = {"item": EmbeddingTable(3, width=8), "color": EmbeddingTable(2, width=4)}
    >>> encoder = ObjectEncoder(group, tables, width=16)
    >>> colors = np.array([0, 1, 1])
    >>> encoder.set_objects({"embedding_indices": np.arange(3), "color/indices": colors})
    >>> encoder(tf.constant([2, 0], tf.int64)).shape
    TensorShape([2, 16])

    Reference:
        ATRank, "Behavior embedding spaces": emb_g, of an object of group g.
    """

    def __init__(
        self, group: Group, tables: dict[str, EmbeddingTable], width: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.width = width
        self.tables = {
            name: tables[name]
            for name in (group.name, *(feature_vocabulary(f) for f in group.features))
        }
        self.embedding_indices = self._lookup_weight("embedding_indices", group.num_objects)
        self.feature_indices = {
            f.name: self._lookup_weight(f"{f.name}_value_indices", max(1, f.num_values))
            for f in group.features
        }
        self.feature_splits = {
            f.name: self._lookup_weight(f"{f.name}_value_splits", group.num_objects + 1)
            for f in group.features
            if f.multivalued
        }
        self.network = keras.layers.Dense(width, name="network", dtype=self.dtype_policy)
        widths = [self.tables[feature_vocabulary(f)].width for f in group.features]
        self.network.build((None, self.tables[group.name].width + sum(widths)))
        self.built = True

    def _lookup_weight(self, name: str, size: int) -> keras.Variable:
        return self.add_weight(
            name=name, shape=(size,), dtype="int64", initializer="zeros", trainable=False
        )

    def set_objects(self, objects: dict[str, np.ndarray]) -> None:
        """Sets which values each object has.

        Args:
            objects: `embedding_indices`, int64 [num_objects]; for each feature NAME the
                embedding indices of its values as `NAME/indices`, int64 [num_values]; for a
                multi-valued one also `NAME/splits`, int64 [num_objects + 1]: object i
                has the values from splits[i] to before splits[i + 1].
        """
        self.embedding_indices.assign(objects["embedding_indices"])
        for name, indices in self.feature_indices.items():
            if objects[f"{name}/indices"].size:
                indices.assign(objects[f"{name}/indices"])
        for name, splits in self.feature_splits.items():
            splits.assign(objects[f"{name}/splits"])

    def embedding_index(self, objects: tf.Tensor) -> tf.Tensor:
        """Returns the embedding index of each object's id.

        Args:
            objects: Object indices, int64 [n].

        Returns:
            int64 [n].
        """
        return tf.gather(self.embedding_indices.value, objects)

    def call(self, objects: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds objects.

        Args:
            objects: Object indices, int64 [n].
            training: Passed on to the tables.

        Returns:
            float [n, width].
        """
        parts = [self.tables[self.group.name](self.embedding_index(objects), training=training)]
        for feature in self.group.features:
            table = self.tables[feature_vocabulary(feature)]
            indices = self.feature_indices[feature.name].value
            if feature.multivalued:
                parts.append(self._mean(feature.name, indices, table, objects, training))
            else:
                parts.append(table(tf.gather(indices, objects), training=training))
        return self.network(tf.concat(parts, axis=-1))

    def _mean(
        self,
        name: str,
        indices: tf.Tensor,
        table: EmbeddingTable,
        objects: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        """The mean embedding of the values that each object has, [n, width of the table]."""
        splits = self.feature_splits[name].value
        starts = tf.gather(splits, objects)
        values = tf.ragged.range(starts, tf.gather(splits, objects + 1))
        vectors = table(tf.gather(indices, values.flat_values), training=training)
        count = tf.shape(objects)[0]
        total = tf.math.unsorted_segment_sum(vectors, ragged.row_ids(values), count)
        lengths = tf.cast(tf.maximum(values.row_lengths(), tf.ones([], tf.int64)), total.dtype)
        return total / lengths[:, tf.newaxis]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "group": dataclasses.asdict(self.group),
            "tables": {name: serialize(table) for name, table in self.tables.items()},
            "width": self.width,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ObjectEncoder":
        """Makes the layer, with tables that are not shared, from what `get_config` returned."""
        deserialize = keras.saving.deserialize_keras_object
        group = Group.from_dict(config["group"])
        tables = {name: deserialize(table) for name, table in config["tables"].items()}
        return cls(**{**config, "group": group, "tables": tables})
