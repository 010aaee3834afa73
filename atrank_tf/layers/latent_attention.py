"""Attention in several latent semantic spaces."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers.time_bias import TimeBias


@keras.saving.register_keras_serializable("atrank_tf")
class LatentAttention(keras.layers.Layer):
    """Projects queries and behaviours into K latent spaces and attends in each of them.

    In space k, with q = relu(Q W_q), k = relu(M W_k), v = relu(M W_v) of width d:

        C_k = softmax(q k^T / sqrt(d) + bias_k) v

    and the result is the concatenation of C_1 .. C_K. This is the scaled dot-product
    form of ATRank's released code; the bias is that of `TimeBias`, for the causal form,
    and 0 for the paper's. Self-attention has the behaviours themselves for its queries;
    vanilla attention has the candidates.

    Keys and values are made by `memorize`, once for all queries that will ever read them.
    A query that sees no behaviour gets zeros.

    Args:
        width: Overall width of the spaces: K d.
        num_spaces: Number of latent spaces, K; divides `width`.
        time_bounds: Of the causal form, what divides gaps into buckets, for `time_bucket`.
            Without it a query sees all behaviours of its row, whenever they were.

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018: projection into latent semantic spaces.
    """

    def __init__(
        self,
        width: int = 64,
        num_spaces: int = 4,
        time_bounds: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if width % num_spaces:
            raise ValueError(f"width ({width}) must be a multiple of num_spaces ({num_spaces})")
        self.width = width
        self.num_spaces = num_spaces
        self.time_bounds = list(time_bounds)
        self.query = keras.layers.Dense(width, "relu", name="query", dtype=self.dtype_policy)
        self.key_value = keras.layers.Dense(
            2 * width, "relu", name="key_value", dtype=self.dtype_policy
        )
        self.query.build((None, width))
        self.key_value.build((None, width))
        self.time_bias = None
        if self.time_bounds:
            self.time_bias = TimeBias(
                num_spaces, time_bounds, name="time_bias", dtype=self.dtype_policy
            )
        self.built = True

    def memorize(self, behaviors: tf.RaggedTensor) -> tf.RaggedTensor:
        """Makes the keys and values of behaviours [batch, (tokens), width].

        Returns:
            float [batch, (tokens), 2 width].
        """
        return ragged.like(behaviors, self.key_value(behaviors.flat_values))

    def call(
        self,
        queries: tf.RaggedTensor,
        memory: tf.RaggedTensor,
        query_times: tf.Tensor | None = None,
        times: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Attends from each query to the behaviours of its row.

        Args:
            queries: float [batch, (queries), width].
            memory: What `memorize` returned, float [batch, (tokens), 2 width].
            query_times: For the causal form the moment of each query, int64 [batch, longest
                row of queries], or one moment for a row's queries, int64 [batch, 1].
            times: For the causal form when each behaviour was, int64 [batch, (tokens)].

        Returns:
            Flat float [total queries, width].
        """
        (q,) = self._spaces(ragged.like(queries, self.query(queries.flat_values)), 1)
        k, v = self._spaces(memory, 2)  # Each [spaces, batch, tokens, d].
        scores = tf.matmul(q / math.sqrt(self.width // self.num_spaces), k, transpose_b=True)
        if self.time_bias is None:
            is_token = tf.sequence_mask(memory.row_lengths(), tf.shape(k)[2], scores.dtype)
            bias = ((1.0 - is_token) * (scores.dtype.min / 2))[:, tf.newaxis, :]
            sees = memory.row_lengths()[:, tf.newaxis] > 0
        else:
            padded = ragged.pad(times, tf.int64.max)  # Padding comes after every query.
            bias = self.time_bias(query_times, padded)
            sees = query_times > tf.reduce_min(padded, axis=1, keepdims=True)
        context = tf.matmul(tf.nn.softmax(scores + bias), v)  # [spaces, batch, queries, d]
        context *= tf.cast(sees, context.dtype)[:, :, tf.newaxis]
        context = tf.transpose(context, [1, 2, 0, 3])
        shape = tf.shape(context)
        return ragged.unpad(tf.reshape(context, [shape[0], shape[1], self.width]), queries)

    def _spaces(self, rows: tf.RaggedTensor, parts: int) -> list[tf.Tensor]:
        """Divides rows [batch, (n), parts width] into parts [spaces, batch, n, d]."""
        padded = ragged.pad(rows)
        shape = tf.shape(padded)
        depth = self.width // self.num_spaces
        spaces = tf.reshape(padded, [shape[0], shape[1], parts, self.num_spaces, depth])
        return tf.unstack(tf.transpose(spaces, [2, 3, 0, 1, 4]))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_spaces": self.num_spaces,
            "time_bounds": self.time_bounds,
        }
