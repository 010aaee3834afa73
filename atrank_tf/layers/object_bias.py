"""The bias of each object of a target: what its popularity alone says."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers.embedding_table import EmbeddingTable


@keras.saving.register_keras_serializable("atrank_tf")
class ObjectBias(EmbeddingTable):
    """A number for each object of a target, added to the logits of its candidates.

    Like an embedding it is looked up by the object's embedding index: rare objects share one.
    It stays in float32 whatever the precision: log-odds lose too much in bfloat16.

    Args:
        num_embeddings: Number of embeddings of the group's vocabulary.

    Example:

    >>> bias = ObjectBias(num_embeddings=3)
    >>> bias.set_log_odds(indices=np.array([0, 1, 2]), counts=np.array([0, 9, 1]))
    >>> np.round(bias(tf.constant([1, 2])), 2)
    array([ 0.84, -0.77], dtype=float32)
    """

    def __init__(self, num_embeddings: int, **kwargs: Any) -> None:
        fixed = {"width": 1, "initializer": "zeros", "l2": 0.0, "dtype": "float32"}
        super().__init__(num_embeddings, **{**kwargs, **fixed})

    def set_log_odds(self, indices: np.ndarray, counts: np.ndarray) -> None:
        """Starts each bias where popularity alone would have it.

        A positive is drawn by how often objects occur, a negative uniformly, so the log-odds of
        a candidate known by its count alone are log(count / mean count). The model then learns
        what popularity does not explain.

        Args:
            indices: Embedding index of each object, int64 [num_objects].
            counts: How often each was a positive in training, int64 [num_objects].
        """
        counts = counts + 1.0
        totals = np.bincount(indices, counts, self.num_embeddings)
        num_sharing = np.bincount(indices, minlength=self.num_embeddings)
        means = totals / np.maximum(1, num_sharing)
        self.table.assign(np.log(np.maximum(means, 1.0) / counts.mean())[:, np.newaxis])

    def call(self, indices: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Looks biases up.

        Args:
            indices: Embedding indices, int32 or int64 [n].
            training: Changes nothing: biases have no penalty.

        Returns:
            float32 [n].
        """
        return super().call(indices, training)[:, 0]
