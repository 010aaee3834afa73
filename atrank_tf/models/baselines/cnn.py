"""CNN with max-pooling: the paper's convolutional baseline."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.models.history_ranker import HistoryRanker
from atrank_tf.models.ranker import History, QueryTimes, batch_size, single_query_time
from data_pipeline import ragged
from data_pipeline.schema import Schema

# Behaviors that a filter sees at once, and filters of each such window.
_WINDOWS = range(1, 11)
_FILTERS = 32


@keras.saving.register_keras_serializable("atrank_tf")
class CNN(HistoryRanker):
    """Runs filters over a history, oldest behavior first, and keeps each one's maximum.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = CNN(data.schema, data.catalog, width=8)
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="queries")).take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        The ATRank paper's baseline "CNN + Pooling", after Kim, "Convolutional Neural Networks for
        Sentence Classification", EMNLP 2014. Windows and filters are those of the code that
        ATRank's authors released.
    """

    is_in_paper = True

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        self.tokens = self.new_tokens(catalog)
        self.filters = [
            keras.layers.Conv1D(
                _FILTERS,
                window,
                padding="same",
                activation="relu",
                name=f"filters_{window}",
                dtype=self.dtype_policy,
            )
            for window in _WINDOWS
        ]
        for filters in self.filters:
            filters.build((None, None, self.width))
        self.project = keras.layers.Dense(self.width, name="project", dtype=self.dtype_policy)
        self.project.build((None, len(_WINDOWS) * _FILTERS))

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns the maxima of the filters in each history, projected: float [batch, width]."""
        num_rows = batch_size(query_time)
        tokens = self.tokens(history, single_query_time(query_time), num_rows, training=training)
        tokens = ragged.sort_rows(tokens, self.tokens.times(history, num_rows))
        padded = ragged.pad(tokens)
        is_token = tf.sequence_mask(tokens.row_lengths(), tf.shape(padded)[1], padded.dtype)
        # The output of a filter is 0 or more, so 0 hides padding from the maximum.
        maxima = [
            tf.reduce_max(filters(padded) * is_token[:, :, tf.newaxis], axis=1)
            for filters in self.filters
        ]
        return self.project(tf.concat(maxima, axis=-1))

    def score_target(
        self,
        target: str,
        state: tf.Tensor,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates by their dot product with the state, plus a bias."""
        h = self.tokens.candidates(target, objects, training=training)
        return self.tokens.logits(target, objects, h, ragged.spread(objects, state))
