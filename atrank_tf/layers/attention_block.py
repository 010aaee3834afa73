"""Latent-space attention, followed by a feed-forward network."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.layers.latent_attention import LatentAttention, Scores
from data_pipeline import ragged


@keras.saving.register_keras_serializable("atrank_tf")
class AttentionBlock(keras.layers.Layer):
    """F(concat(C_1 .. C_K)): attention, then feed-forward, each with residual and norm.

        x = LayerNorm(queries + dropout(attention(queries, keys_values)))
        y = LayerNorm(x + dropout(relu(x W_1 + b_1) W_2 + b_2))

    The inner width of the feed-forward network is a quarter of `width`, as in ATRank's
    released code. The block is F_self of the paper where the queries are the behaviors
    themselves, F_vanilla where they are candidates.

    Args:
        width: Width of the queries, the behaviors and the result.
        num_spaces: Number of latent spaces.
        dropout: Dropout rate, in [0, 1).
        time_bounds: As for `LatentAttention`.
        scores: As for `LatentAttention`.

    Example:

    >>> block = AttentionBlock(width=16, num_spaces=4)
    >>> behaviors = ragged.from_row_lengths(tf.random.normal([5, 16]), [3, 0, 2])
    >>> block(behaviors, block.keys_values(behaviors)).shape
    TensorShape([3, None, 16])

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018: self-attention and vanilla attention.
    """

    def __init__(
        self,
        width: int = 64,
        num_spaces: int = 4,
        dropout: float = 0.0,
        time_bounds: Sequence[int] = (),
        scores: Scores = "scaled_dot",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.num_spaces = num_spaces
        self.dropout = dropout
        self.time_bounds = list(time_bounds)
        self.scores = scores
        self.attention = LatentAttention(
            width,
            num_spaces,
            time_bounds,
            scores,
            name="attention",
            dtype=self.dtype_policy,
        )
        self.attention_norm = keras.layers.LayerNormalization(
            name="attention_norm", dtype=self.dtype_policy
        )
        self.inner = keras.layers.Dense(
            max(1, width // 4), "relu", name="inner", dtype=self.dtype_policy
        )
        self.outer = keras.layers.Dense(width, name="outer", dtype=self.dtype_policy)
        self.feed_forward_norm = keras.layers.LayerNormalization(
            name="feed_forward_norm", dtype=self.dtype_policy
        )
        self.drop = keras.layers.Dropout(dropout, name="drop", dtype=self.dtype_policy)
        self.inner.build((None, width))
        self.outer.build((None, max(1, width // 4)))
        self.attention_norm.build((None, width))
        self.feed_forward_norm.build((None, width))
        self.built = True

    def keys_values(self, behaviors: tf.RaggedTensor) -> tf.RaggedTensor:
        """Makes the keys and values that `call` reads: see `LatentAttention.keys_values`."""
        return self.attention.keys_values(behaviors)

    def call(
        self,
        queries: tf.RaggedTensor,
        keys_values: tf.RaggedTensor,
        query_times: tf.Tensor | None = None,
        times: tf.RaggedTensor | None = None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Attends from each query to the behaviors of its batch row.

        Args:
            queries: float [batch, (queries), width].
            keys_values: What `keys_values` returned, float [batch, (behaviors), 2 width].
            query_times: For the causal form, int64 [batch, longest row of queries] or
                [batch, 1]: see `LatentAttention`.
            times: For the causal form, int64 [batch, (behaviors)].
            training: Whether to drop values.

        Returns:
            float [batch, (queries), width].
        """
        attended = self.attention(queries, keys_values, query_times, times)
        attended = self.drop(attended, training=training)
        x = self.attention_norm(queries.flat_values + attended)
        y = self.feed_forward_norm(x + self.drop(self.outer(self.inner(x)), training=training))
        return ragged.like(queries, y)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_spaces": self.num_spaces,
            "dropout": self.dropout,
            "time_bounds": self.time_bounds,
            "scores": self.scores,
        }
