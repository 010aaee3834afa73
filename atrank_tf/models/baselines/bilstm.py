"""Bi-LSTM, with and without attention: the paper's recurrent baselines."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers import AttentionBlock
from atrank_tf.models.history_ranker import HistoryRanker
from atrank_tf.models.ranker import History, QueryTimes, batch_size, single_query_time
from data_pipeline import ragged
from data_pipeline.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class BiLSTM(HistoryRanker):
    """Reads a history, oldest behavior first, with an LSTM in each direction.

    Each direction is as wide as the tokens; a dense layer brings both back to one width, as
    in the code that ATRank's authors released. Without attention a history is the last state
    of both directions. With it every candidate attends to the states at all behaviors, by
    ATRank's own vanilla attention.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        attention: Whether candidates attend to the states.
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = BiLSTM(data.schema, data.catalog, attention=True, width=8)
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="queries")).take(1)
    >>> model.encode(inputs["history"], inputs["query_time"]).shape
    TensorShape([..., None, 16])

    Reference:
        The ATRank paper's baselines "Bi-LSTM" and "Bi-LSTM + Attention", after Zhang et al.,
        "Sequential Click Prediction for Sponsored Search with Recurrent Neural
        Networks", AAAI 2014.
    """

    is_in_paper = True

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        attention: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        self.attention = attention
        self.tokens = self.new_tokens(catalog)
        self.recurrent = keras.layers.Bidirectional(
            keras.layers.LSTM(self.width, return_sequences=attention, dtype=self.dtype_policy),
            name="recurrent",
            dtype=self.dtype_policy,
        )
        self.recurrent.build((None, None, self.width))
        self.project = keras.layers.Dense(self.width, name="project", dtype=self.dtype_policy)
        self.project.build((None, None, 2 * self.width))
        self.vanilla_attention = (
            AttentionBlock(self.width, name="vanilla_attention", dtype=self.dtype_policy)
            if attention
            else None
        )

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Runs both directions over each history.

        Returns:
            The last states of both directions, projected, float [batch, width]; with attention
            keys and values of the states at all behaviors, float [batch, (behaviors), 2 width].
        """
        num_rows = batch_size(query_time)
        tokens = self.tokens(history, single_query_time(query_time), num_rows, training=training)
        tokens = ragged.sort_rows(tokens, self.tokens.times(history, num_rows))
        padded = ragged.pad(tokens)
        # An empty history is read as one zero: cuDNN refuses rows that are masked whole.
        lengths = tf.maximum(tokens.row_lengths(), 1)
        is_token = tf.sequence_mask(lengths, tf.shape(padded)[1])
        states = self.recurrent(padded, mask=is_token, training=training)
        if self.vanilla_attention is None:
            return self.project(states)
        states = self.project(ragged.unpad(states, tokens))
        return self.vanilla_attention.keys_values(ragged.like(tokens, states))

    def score_target(
        self,
        target: str,
        state: Any,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates by their dot product with what they read, plus a bias."""
        h = self.tokens.candidates(target, objects, training=training)
        if self.vanilla_attention is None:
            e = ragged.spread(objects, state)
        else:
            e = self.vanilla_attention(h, state, training=training)
        return self.tokens.logits(target, objects, h, e)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "attention": self.attention,
        }
