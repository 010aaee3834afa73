"""A table of embeddings, of which a training step touches only those in use."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("atrank_tf")
class EmbeddingTable(keras.layers.Layer):
    """Trainable embeddings, looked up by index.

    Unlike `keras.layers.Embedding` it reads them straight from the variable
    (`ResourceGather`), so neither the look-up nor a sparse update copies the table.

    Args:
        num_embeddings: Number of embeddings.
        width: Width of an embedding.
        initializer: Initializer of the embeddings.
        l2: Weight of the L2 penalty on the embeddings in use: the mean squared norm of those
            that a training step looks up. The others are not penalized.

    Example:

    >>> table = EmbeddingTable(num_embeddings=10, width=4)
    >>> table(tf.constant([1, 3, 1])).shape
    TensorShape([3, 4])
    """

    def __init__(
        self,
        num_embeddings: int,
        width: int,
        initializer: Any = "uniform",
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_embeddings = num_embeddings
        self.width = width
        self.initializer = keras.initializers.get(initializer)
        self.l2 = l2
        self.table = self.add_weight(
            name="table",
            shape=(num_embeddings, width),
            initializer=self.initializer,
            autocast=False,
        )
        self.table.is_embedding_table = True  # For `RowSparse`.
        self.built = True

    def call(self, indices: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Looks embeddings up.

        Args:
            indices: int32 or int64 [n], each in [0, num_embeddings).
            training: Whether to add the L2 penalty.

        Returns:
            float [n, width].
        """
        vectors = tf.cast(tf.gather(self.table.value, indices), self.compute_dtype)
        if training and self.l2:
            count = tf.maximum(1.0, tf.cast(tf.size(indices), tf.float32))
            squares = tf.reduce_sum(tf.square(tf.cast(vectors, tf.float32)))
            self.add_loss(self.l2 * squares / count)
        return vectors

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "width": self.width,
            "initializer": keras.initializers.serialize(self.initializer),
            "l2": self.l2,
        }
