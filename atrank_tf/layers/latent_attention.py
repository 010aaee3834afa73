"""Attention in several latent semantic spaces."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from atrank_tf.layers.relative_time_bias import RelativeTimeBias
from data_pipeline import ragged

Scores = Literal["scaled_dot", "bilinear"]


@keras.saving.register_keras_serializable("atrank_tf")
class LatentAttention(keras.layers.Layer):
    """Projects queries and behaviors into K latent spaces and attends in each of them.

    In space k, with queries Q and behaviors X, and q = relu(Q W_q), k = relu(X W_k) and
    v = relu(X W_v) of width d:

        C_k = softmax(q k^T / sqrt(d) + bias_k) v      "scaled_dot", the released code's
        C_k = softmax(q B_k X^T + bias_k) v            "bilinear", the paper's

    The result is the concatenation of C_1 .. C_K. The bias is that of `RelativeTimeBias` in
    the causal form, and 0 in the paper's. The queries of self-attention are the behaviors
    themselves, those of vanilla attention are the candidates.

    Keys and values are made by `keys_values`, once for all queries that will ever read them.
    A query that sees no behavior gets zeros.

    Args:
        width: Overall width of the spaces: K d.
        num_spaces: Number of latent spaces, K; divides `width`.
        time_bounds: For the causal form, bounds of the buckets of the gap, for `time_bucket`.
            Without them a query sees all behaviors of its batch row, whenever they were.
        scores: "scaled_dot" or "bilinear": how queries and behaviors are compared.

    Example:

    >>> attention = LatentAttention(width=16, num_spaces=4)
    >>> behaviors = ragged.from_row_lengths(tf.random.normal([5, 16]), [3, 0, 2])
    >>> attention(behaviors, attention.keys_values(behaviors)).shape
    TensorShape([5, 16])

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018: projection into latent semantic spaces.
    """

    def __init__(
        self,
        width: int = 64,
        num_spaces: int = 4,
        time_bounds: Sequence[int] = (),
        scores: Scores = "scaled_dot",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if width % num_spaces:
            raise ValueError(f"width ({width}) must be a multiple of num_spaces ({num_spaces})")
        if scores not in get_args(Scores):
            raise ValueError(f"scores is {scores!r}: expected one of {', '.join(get_args(Scores))}")
        self.width = width
        self.num_spaces = num_spaces
        self.time_bounds = list(time_bounds)
        self.scores = scores
        self.query = keras.layers.Dense(width, "relu", name="query", dtype=self.dtype_policy)
        # The paper compares with the behaviors as they are: they need no keys.
        units = width if scores == "bilinear" else 2 * width
        self.key_value = keras.layers.Dense(
            units, "relu", name="key_value", dtype=self.dtype_policy
        )
        self.query.build((None, width))
        self.key_value.build((None, width))
        self.bilinear = None
        if scores == "bilinear":
            depth = width // num_spaces
            self.bilinear = self.add_weight(
                name="bilinear", shape=(num_spaces, depth, width), initializer="glorot_uniform"
            )
        self.relative_time_bias = None
        if self.time_bounds:
            self.relative_time_bias = RelativeTimeBias(
                num_spaces, time_bounds, name="relative_time_bias", dtype=self.dtype_policy
            )
        self.built = True

    def keys_values(self, behaviors: tf.RaggedTensor) -> tf.RaggedTensor:
        """Makes the keys and values of behaviors.

        Args:
            behaviors: float [batch, (behaviors), width].

        Returns:
            float [batch, (behaviors), 2 width].
        """
        keys_values = self.key_value(behaviors.flat_values)
        if self.bilinear is not None:
            keys_values = tf.concat([behaviors.flat_values, keys_values], axis=-1)
        return ragged.like(behaviors, keys_values)

    def call(
        self,
        queries: tf.RaggedTensor,
        keys_values: tf.RaggedTensor,
        query_times: tf.Tensor | None = None,
        times: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Attends from each query to the behaviors of its batch row.

        Args:
            queries: float [batch, (queries), width].
            keys_values: What `keys_values` returned, float [batch, (behaviors), 2 width].
            query_times: For the causal form the time of each query, int64 [batch, longest
                row of queries], or one time for all of a batch row, int64 [batch, 1].
            times: For the causal form when each behavior was, int64 [batch, (behaviors)].

        Returns:
            float [all queries, width].
        """
        weights, values, sees = self._attend(queries, keys_values, query_times, times)
        context = tf.matmul(weights, values)  # [spaces, batch, queries, d]
        context *= tf.cast(sees, context.dtype)[:, :, tf.newaxis]
        context = tf.transpose(context, [1, 2, 0, 3])
        shape = tf.shape(context)
        return ragged.unpad(tf.reshape(context, [shape[0], shape[1], self.width]), queries)

    def attention_weights(
        self,
        queries: tf.RaggedTensor,
        keys_values: tf.RaggedTensor,
        query_times: tf.Tensor | None = None,
        times: tf.RaggedTensor | None = None,
    ) -> tf.Tensor:
        """Returns how much each query attends to each behavior of its batch row.

        Args:
            queries: float [batch, (queries), width].
            keys_values: As for `call`.
            query_times: As for `call`.
            times: As for `call`.

        Returns:
            float32 [spaces, batch, queries, behaviors], padded as `ragged.pad` does. Each
            query's sum to 1 in each space; they are 0 for padding, for what it does not see,
            and where it sees nothing.
        """
        weights, _, sees = self._attend(queries, keys_values, query_times, times)
        is_query = tf.sequence_mask(queries.row_lengths(), tf.shape(weights)[2])
        sees = tf.logical_and(sees, is_query)
        return tf.cast(weights, tf.float32) * tf.cast(sees, tf.float32)[:, :, tf.newaxis]

    def _attend(
        self,
        queries: tf.RaggedTensor,
        keys_values: tf.RaggedTensor,
        query_times: tf.Tensor | None,
        times: tf.RaggedTensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns weights, values, and which queries see anything, bool [batch, queries or 1]."""
        scores, v = self._compare(queries, keys_values)
        if self.relative_time_bias is None:
            is_behavior = tf.sequence_mask(keys_values.row_lengths(), tf.shape(v)[2], scores.dtype)
            bias = ((1.0 - is_behavior) * (scores.dtype.min / 2))[:, tf.newaxis, :]
            sees = keys_values.row_lengths()[:, tf.newaxis] > 0
        else:
            assert times is not None
            assert query_times is not None
            padded = ragged.pad(times, tf.int64.max)  # Padding comes after every query.
            bias = self.relative_time_bias(query_times, padded)
            sees = query_times > tf.reduce_min(padded, axis=1, keepdims=True)
        return tf.nn.softmax(scores + bias), v, sees

    def _compare(
        self, queries: tf.RaggedTensor, keys_values: tf.RaggedTensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns scores [spaces, batch, queries, n] and values [spaces, batch, n, d].

        n is the length of the longest batch row of behaviors.
        """
        flat = self.query(queries.flat_values)
        depth = self.width // self.num_spaces
        if self.bilinear is None:
            (q,) = self._spaces(ragged.like(queries, flat / math.sqrt(depth)), 1)
            k, v = self._spaces(keys_values, 2)
            return tf.matmul(q, k, transpose_b=True), v
        spaces = tf.reshape(flat, [-1, self.num_spaces, depth])
        q = ragged.pad(
            ragged.like(
                queries, tf.einsum("nkd,kdw->nkw", spaces, tf.cast(self.bilinear, spaces.dtype))
            )
        )  # [batch, queries, spaces, width]
        behaviors, values = tf.split(keys_values.flat_values, 2, axis=-1)
        behaviors = ragged.pad(ragged.like(keys_values, behaviors))
        (v,) = self._spaces(ragged.like(keys_values, values), 1)
        return tf.einsum("bqkw,btw->kbqt", q, behaviors), v

    def _spaces(self, vectors: tf.RaggedTensor, parts: int) -> list[tf.Tensor]:
        """Divides vectors [batch, (n), parts spaces d] into parts [spaces, batch, n, d]."""
        padded = ragged.pad(vectors)
        shape = tf.shape(padded)
        depth = padded.shape[-1] // (parts * self.num_spaces)  # type: ignore[operator]
        spaces = tf.reshape(padded, [shape[0], shape[1], parts, self.num_spaces, depth])
        return tf.unstack(tf.transpose(spaces, [2, 3, 0, 1, 4]))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_spaces": self.num_spaces,
            "time_bounds": self.time_bounds,
            "scores": self.scores,
        }
