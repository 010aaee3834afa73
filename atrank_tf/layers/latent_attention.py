"""Attention in several latent semantic spaces."""

import math
from typing import Any

import keras
import tensorflow as tf

from atrank_tf import ragged


@keras.saving.register_keras_serializable("atrank_tf")
class LatentAttention(keras.layers.Layer):
    """Projects queries and memory into K latent spaces and attends in each of them.

    In space k, with q = relu(Q W_q), k = relu(M W_k), v = relu(M W_v) of width d:

        C_k = softmax(q k^T / sqrt(d)) v

    and the result is the concatenation of C_1 .. C_K. This is the scaled dot-product
    form of ATRank's released code. Self-attention has the memory itself for its
    queries; vanilla attention has the candidates.

    A query whose row has an empty memory gets zeros: padding has zero values, so
    whatever weights the softmax gives it, they add up to nothing.

    Args:
        width: Overall width of the spaces: K d.
        num_spaces: Number of latent spaces, K; divides `width`.

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018: projection into latent semantic spaces.
    """

    def __init__(self, width: int = 128, num_spaces: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width % num_spaces:
            raise ValueError(f"width ({width}) must be a multiple of num_spaces ({num_spaces})")
        self.width = width
        self.num_spaces = num_spaces
        self.query = keras.layers.Dense(width, "relu", name="query")
        self.key = keras.layers.Dense(width, "relu", name="key")
        self.value = keras.layers.Dense(width, "relu", name="value")
        for projection in (self.query, self.key, self.value):
            projection.build((None, width))
        self.built = True

    def call(self, queries: tf.RaggedTensor, memory: tf.RaggedTensor) -> tf.Tensor:
        """Attends from each query to the memory of its row.

        Args:
            queries: float [batch, (queries), width].
            memory: float [batch, (tokens), width].

        Returns:
            Flat float [total queries, width].
        """
        q = self._spaces(queries, self.query)  # [batch, spaces, queries, d]
        k = self._spaces(memory, self.key)  # [batch, spaces, tokens, d]
        v = self._spaces(memory, self.value)
        scores = tf.matmul(q / math.sqrt(self.width // self.num_spaces), k, transpose_b=True)
        is_token = tf.sequence_mask(memory.row_lengths(), tf.shape(k)[2], scores.dtype)
        mask = (1.0 - is_token) * (scores.dtype.min / 2)  # [batch, tokens]
        weights = tf.nn.softmax(scores + mask[:, tf.newaxis, tf.newaxis, :])
        context = tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3])
        shape = tf.shape(context)
        return ragged.unpad(tf.reshape(context, [shape[0], shape[1], self.width]), queries)

    def _spaces(self, rows: tf.RaggedTensor, projection: keras.layers.Dense) -> tf.Tensor:
        padded = ragged.pad(ragged.like(rows, projection(rows.flat_values)))
        shape = tf.shape(padded)
        depth = self.width // self.num_spaces
        spaces = tf.reshape(padded, [shape[0], shape[1], self.num_spaces, depth])
        return tf.transpose(spaces, [0, 2, 1, 3])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "width": self.width, "num_spaces": self.num_spaces}
