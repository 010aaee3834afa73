"""Bi-LSTM, with and without attention: the paper's recurrent competitors."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers import AttentionBlock
from atrank_tf.models.history_ranker import HistoryRanker
from atrank_tf.models.ranker import Candidates, History, Moments, num_rows, one_moment
from atrank_tf.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class BiLSTM(HistoryRanker):
    """Reads a history, oldest behaviour first, with an LSTM in each direction.

    Each direction is as wide as the tokens; a dense layer brings both back to one width, as
    in the code that ATRank's authors released. Without attention a history is the last state
    of both directions. With it every candidate attends to the states at all behaviours, by
    ATRank's own vanilla attention.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        attention: Whether candidates attend to the states.
        **kwargs: `width` and what else `HistoryRanker` has.

    Reference:
        ATRank's competitors "Bi-LSTM" and "Bi-LSTM + Attention", after Zhang et al.,
        "Sequential Click Prediction for Sponsored Search with Recurrent Neural
        Networks", AAAI 2014.
    """

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        attention: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, **kwargs)
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
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Runs both directions over each history.

        Returns:
            What the last states make, float [batch, width]; with attention what candidates
            read of the states, float [batch, (behaviours), 2 width].
        """
        rows = num_rows(now)
        tokens = self.tokens(history, one_moment(now), rows, training=training)
        tokens = ragged.sort_rows(tokens, self.tokens.times(history, rows))
        padded = ragged.pad(tokens)
        # Without a history a row reads one zero: cuDNN refuses rows that are masked whole.
        lengths = tf.maximum(tokens.row_lengths(), 1)
        is_token = tf.sequence_mask(lengths, tf.shape(padded)[1])
        states = self.recurrent(padded, mask=is_token, training=training)
        if self.vanilla_attention is None:
            return self.project(states)
        states = self.project(ragged.unpad(states, tokens))
        return self.vanilla_attention.memorize(ragged.like(tokens, states))

    def score(
        self, memory: Any, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates by their dot product with what they read, plus a bias."""
        logits = {}
        for target, objects in candidates.items():
            h = self.tokens.candidates(target, objects, training=training)
            if self.vanilla_attention is None:
                e = ragged.spread(objects, memory)
            else:
                e = self.vanilla_attention(h, memory, training=training)
            logits[target] = self.tokens.logits(target, objects, h, e)
        return logits

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "attention": self.attention,
        }
