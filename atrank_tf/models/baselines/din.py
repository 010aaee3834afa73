"""DIN: each candidate activates the behaviors that matter to it."""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.models.history_ranker import HistoryRanker
from atrank_tf.models.ranker import History, QueryTimes, batch_size, single_query_time
from data_pipeline import ragged
from data_pipeline.schema import Schema

_ACTIVATION_UNITS = 36
_UNITS = (80, 40)


@keras.saving.register_keras_serializable("atrank_tf")
class DIN(HistoryRanker):
    """Weighs each behavior by a small network of the behavior and the candidate.

        a_j = w relu(W [q, k_j, q - k_j, q * k_j])       no softmax
        logit = MLP([sum_j a_j k_j, q]) + bias

    W is kept as its parts for q, k and q * k (q - k is linear in both), so that all pairs are
    one product of matrices.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = DIN(data.schema, data.catalog, width=8)
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="queries")).take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018;
        with ReLU in place of Dice.
    """

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, **kwargs)
        self.tokens = self.new_tokens(catalog)

        def dense(units: int, inputs: int, name: str, **options: Any) -> keras.layers.Dense:
            layer = keras.layers.Dense(units, name=name, dtype=self.dtype_policy, **options)
            layer.build((None, inputs))
            return layer

        self.of_query = dense(_ACTIVATION_UNITS, self.width, "of_query")
        self.of_key = dense(_ACTIVATION_UNITS, self.width, "of_key", use_bias=False)
        self.of_product = self.add_weight(
            name="of_product", shape=(_ACTIVATION_UNITS, self.width), initializer="glorot_uniform"
        )
        self.weigh = dense(1, _ACTIVATION_UNITS, "weigh")
        sizes = (2 * self.width, *_UNITS, 1)
        self.mlp = [
            dense(units, inputs, f"mlp_{i}", activation="relu" if units > 1 else None)
            for i, (inputs, units) in enumerate(itertools.pairwise(sizes))
        ]

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
        """Scores candidates by the behaviors that they activate."""
        keys = ragged.pad(state)  # [batch, T, width]
        of_keys = ragged.pad(ragged.like(state, self.of_key(state.flat_values)))
        is_key = tf.sequence_mask(state.row_lengths(), tf.shape(keys)[1], keys.dtype)
        q = self.tokens.candidates(target, objects, training=training)
        queries = ragged.pad(q)  # [batch, Q, width]
        of_queries = ragged.pad(ragged.like(q, self.of_query(q.flat_values)))
        scaled = queries[:, :, tf.newaxis, :] * tf.cast(self.of_product, queries.dtype)
        shape = tf.shape(scaled)  # [batch, Q, units, width]
        flat = tf.reshape(scaled, [shape[0], shape[1] * shape[2], self.width])
        products = tf.matmul(flat, keys, transpose_b=True)
        products = tf.reshape(products, [shape[0], shape[1], shape[2], tf.shape(keys)[1]])
        of_pairs = products + of_queries[..., tf.newaxis]  # type: ignore[index]
        of_pairs += tf.transpose(of_keys, [0, 2, 1])[:, tf.newaxis]
        kernel = tf.cast(self.weigh.kernel, of_pairs.dtype)
        weights = tf.reduce_sum(tf.nn.relu(of_pairs) * kernel, axis=2)
        weights += tf.cast(self.weigh.bias, weights.dtype)
        interest = tf.matmul(weights * is_key[:, tf.newaxis, :], keys)  # [batch, Q, width]
        x = tf.concat([ragged.unpad(interest, q), q.flat_values], axis=-1)
        for layer in self.mlp:
            x = layer(x)
        return self.tokens.with_bias(target, objects, x[:, 0])
