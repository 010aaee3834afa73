"""BST: a Transformer over the history with the candidate at its end."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.models.history_ranker import HistoryRanker, check_dropout
from atrank_tf.models.ranker import History, QueryTimes, batch_size, single_query_time
from data_pipeline import ragged
from data_pipeline.schema import Schema

_UNITS = (128, 64)


@keras.saving.register_keras_serializable("atrank_tf")
class BST(HistoryRanker):
    """Puts the candidate behind the history and relates all of them by self-attention.

    The output at the candidate's position, and the mean of the outputs at the behaviors'
    positions, go through an MLP. So every candidate costs a pass over the history.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        num_heads: Attention heads; a divisor of width.
        dropout: Dropout rate, in [0, 1).
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = BST(data.schema, data.catalog, width=8)
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="queries")).take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        Chen et al., "Behavior Sequence Transformer for E-commerce Recommendation in
        Alibaba", DLP-KDD 2019; with the behaviors' mean in place of their concatenation, as
        histories have any length, and the gap to the query time for the position, as there.
    """

    # A candidate costs a pass over the history, of which BST's paper keeps 20, too.
    best_settings: ClassVar[Mapping[str, Any]] = {"max_history": 20}

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        num_heads: int = 4,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        if num_heads < 1 or self.width % num_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of num_heads ({num_heads})")
        check_dropout(dropout)
        self.num_heads = num_heads
        self.dropout = dropout
        policy = self.dtype_policy
        self.tokens = self.new_tokens(catalog)
        self.attention = keras.layers.MultiHeadAttention(
            num_heads, self.width // num_heads, dropout=dropout, name="attention", dtype=policy
        )
        self.attention_norm = keras.layers.LayerNormalization(name="attention_norm", dtype=policy)
        self.inner = keras.layers.Dense(4 * self.width, "leaky_relu", name="inner", dtype=policy)
        self.outer = keras.layers.Dense(self.width, name="outer", dtype=policy)
        self.drop = keras.layers.Dropout(dropout, name="drop", dtype=policy)
        self.feed_forward_norm = keras.layers.LayerNormalization(
            name="feed_forward_norm", dtype=policy
        )
        self.mlp = [
            keras.layers.Dense(units, activation, name=f"mlp_{i}", dtype=policy)
            for i, (units, activation) in enumerate(
                [*((units, "leaky_relu") for units in _UNITS), (1, None)]
            )
        ]
        shape = (None, None, self.width)
        self.attention.build(shape, shape)
        for layer in (self.attention_norm, self.inner, self.feed_forward_norm):
            layer.build(shape)
        self.outer.build((None, None, 4 * self.width))
        for layer, inputs in zip(self.mlp, (2 * self.width, *_UNITS), strict=True):
            layer.build((None, inputs))

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Embeds the behaviors, float [batch, (behaviors), width]; `score` does the rest."""
        return self.tokens(
            history, single_query_time(query_time), batch_size(query_time), training=training
        )

    def score_target(
        self,
        target: str,
        state: tf.RaggedTensor,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates, each by a pass of the Transformer."""
        behaviors = ragged.pad(state)
        is_behavior = tf.sequence_mask(state.row_lengths(), tf.shape(behaviors)[1])
        h = self.tokens.candidates(target, objects, training=training).flat_values
        x = tf.concat([ragged.per_value(objects, behaviors), h[:, tf.newaxis, :]], axis=1)
        behavior_mask = ragged.per_value(objects, is_behavior)  # [candidates, T]
        attention_mask = tf.pad(behavior_mask, [[0, 0], [0, 1]], constant_values=True)
        context = self.attention(
            x, x, attention_mask=attention_mask[:, tf.newaxis, :], training=training
        )
        x = self.attention_norm(x + self.drop(context, training=training))
        y = self.drop(self.outer(self.inner(x)), training=training)
        y = self.feed_forward_norm(x + y)
        weights = tf.cast(behavior_mask, y.dtype)[:, :, tf.newaxis]
        count = tf.maximum(tf.reduce_sum(weights, axis=1), 1)
        mean = tf.reduce_sum(y[:, :-1] * weights, axis=1) / count
        z = tf.concat([y[:, -1], mean], axis=-1)
        for layer in self.mlp:
            z = layer(z)
        return self.tokens.with_bias(target, objects, z[:, 0])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "dropout": self.dropout,
        }
