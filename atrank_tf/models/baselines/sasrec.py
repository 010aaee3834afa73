"""Causal self-attention over positions, as in SASRec."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers import EmbeddingTable
from atrank_tf.models.history_ranker import HistoryRanker, check_dropout
from atrank_tf.models.ranker import History, QueryTimes, batch_size
from data_pipeline import ragged
from data_pipeline.schema import Schema

_POSITIONS = 512  # The oldest of a longer history share the first one's embedding.


class _Block(keras.layers.Layer):
    """Attention to earlier positions, then a feed-forward network, each with residual."""

    def __init__(self, width: int, num_heads: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.norms = [
            keras.layers.LayerNormalization(name=f"norm_{i}", dtype=policy) for i in range(2)
        ]
        self.attention = keras.layers.MultiHeadAttention(
            num_heads, width // num_heads, dropout=dropout, name="attention", dtype=policy
        )
        self.inner = keras.layers.Dense(width, "relu", name="inner", dtype=policy)
        self.outer = keras.layers.Dense(width, name="outer", dtype=policy)
        self.drop = keras.layers.Dropout(dropout, name="drop", dtype=policy)
        shape = (None, None, width)
        for layer in (*self.norms, self.inner, self.outer):
            layer.build(shape)
        self.attention.build(shape, shape)
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Relates the vectors of each batch row, float [batch, T, width], padded at its end."""
        queries = self.norms[0](x)
        x += self.attention(queries, x, use_causal_mask=True, training=training)
        inner = self.drop(self.inner(self.norms[1](x)), training=training)
        return x + self.drop(self.outer(inner), training=training)


@keras.saving.register_keras_serializable("atrank_tf")
class SASRec(HistoryRanker):
    """Reads a history, oldest behavior first, by self-attention to what came before.

    Each behavior attends to itself and to all earlier positions; a candidate is scored against
    the last behavior strictly before its query time. Behaviors are known by their positions,
    not their times. One encoding serves every query time.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        num_heads: Attention heads; a divisor of width.
        num_blocks: Self-attention blocks.
        dropout: Dropout rate, in [0, 1). Of attention weights and within the feed-forward
            network; SASRec's paper drops embeddings, too.
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = SASRec(data.schema, data.catalog, width=8)
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="windows")).take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; with
        behaviors of all groups, their actions and features, in place of items.
    """

    serves_every_time = True

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        num_heads: int = 2,
        num_blocks: int = 2,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        if num_heads < 1 or self.width % num_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of num_heads ({num_heads})")
        check_dropout(dropout)
        if num_blocks < 1:
            raise ValueError(f"num_blocks is {num_blocks}: expected 1 or more")
        self.num_heads = num_heads
        self.num_blocks = num_blocks
        self.dropout = dropout
        self.tokens = self.new_tokens(catalog, time_bounds=())
        self.positions = EmbeddingTable(
            _POSITIONS, self.width, name="positions", dtype=self.dtype_policy
        )
        self.blocks = [
            _Block(self.width, num_heads, dropout, name=f"block_{i}", dtype=self.dtype_policy)
            for i in range(num_blocks)
        ]
        self.norm = keras.layers.LayerNormalization(name="norm", dtype=self.dtype_policy)
        self.norm.build((None, None, self.width))

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.RaggedTensor]:
        """Relates each behavior to those before it.

        Returns:
            `states`, float [batch, (behaviors), width], and their `times`, int64 [batch,
            (behaviors)], oldest first.
        """
        num_rows = batch_size(query_time)
        times = self.tokens.times(history, num_rows)
        tokens = self.tokens(history, None, num_rows, training=training)
        tokens, times = ragged.sort_rows(tokens, times), ragged.sort_rows(times, times)
        lengths = tokens.row_lengths()
        positions = tf.ragged.range(
            tf.minimum(_POSITIONS - lengths, 0), tf.minimum(lengths, _POSITIONS)
        )
        embedded = self.positions(tf.maximum(positions.flat_values, 0), training=training)
        x = ragged.pad(ragged.like(tokens, tokens.flat_values + embedded))
        for block in self.blocks:
            x = block(x, training=training)
        return {"states": ragged.like(tokens, ragged.unpad(self.norm(x), tokens)), "times": times}

    def score_target(
        self,
        target: str,
        state: dict[str, tf.RaggedTensor],
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates against the last state before their query time, plus a bias."""
        states, times = state["states"], ragged.pad(state["times"], tf.int64.max)
        zeros = tf.zeros([1, self.width], states.dtype)
        states_and_zeros = tf.concat([states.flat_values, zeros], axis=0)
        shape = [objects.nrows(), ragged.longest(objects)]
        num_before = tf.searchsorted(times, query_times, out_type=tf.int64)
        num_before = ragged.unpad(tf.broadcast_to(num_before, shape), objects)
        last = ragged.per_value(objects, states.row_starts()) + num_before - 1
        last = tf.where(num_before > 0, last, tf.shape(states_and_zeros, tf.int64)[0] - 1)
        h = self.tokens.candidates(target, objects, training=training)
        e = ragged.like(objects, tf.gather(states_and_zeros, last))
        return self.tokens.logits(target, objects, h, e)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_blocks": self.num_blocks,
            "dropout": self.dropout,
        }
