"""DIN: each candidate activates the behaviours that matter to it."""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.models.history_ranker import HistoryRanker
from atrank_tf.models.ranker import Candidates, History, Moments, num_rows, one_moment
from atrank_tf.schema import Schema

_ACTIVATION_UNITS = 36
_UNITS = (80, 40)


@keras.saving.register_keras_serializable("atrank_tf")
class DIN(HistoryRanker):
    """Weighs each behaviour by a small network of the behaviour and the candidate.

        a_j = w relu(W [q, k_j, q - k_j, q * k_j])       no softmax
        logit = MLP([sum_j a_j k_j, q]) + bias

    W is kept as its parts for q, k and q * k (q - k is linear in both), so that what
    is computed for each pair is a product of matrices.

    Args:
        schema: Description of the data.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        **kwargs: `width` and what else `HistoryRanker` has.

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
        super().__init__(schema, **kwargs)
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
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Embeds the behaviours, float [batch, (behaviours), width]; `score` does the rest."""
        return self.tokens(history, one_moment(now), num_rows(now), training=training)

    def score(
        self, memory: tf.RaggedTensor, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates by what they activate in the history."""
        keys = ragged.pad(memory)  # [batch, T, width]
        of_keys = ragged.pad(ragged.like(memory, self.of_key(memory.flat_values)))
        is_key = tf.sequence_mask(memory.row_lengths(), tf.shape(keys)[1], keys.dtype)
        logits = {}
        for target, objects in candidates.items():
            q = self.tokens.candidates(target, objects, training=training)
            queries = ragged.pad(q)  # [batch, Q, width]
            of_queries = ragged.pad(ragged.like(q, self.of_query(q.flat_values)))
            scaled = queries[:, :, tf.newaxis, :] * tf.cast(self.of_product, queries.dtype)
            shape = tf.shape(scaled)  # [batch, Q, units, width]
            flat = tf.reshape(scaled, [shape[0], shape[1] * shape[2], self.width])
            products = tf.matmul(flat, keys, transpose_b=True)
            products = tf.reshape(products, [shape[0], shape[1], shape[2], tf.shape(keys)[1]])
            of_pairs = products + of_queries[..., tf.newaxis]
            of_pairs += tf.transpose(of_keys, [0, 2, 1])[:, tf.newaxis]
            kernel = tf.cast(self.weigh.kernel, of_pairs.dtype)
            weights = tf.reduce_sum(tf.nn.relu(of_pairs) * kernel, axis=2)
            weights += tf.cast(self.weigh.bias, weights.dtype)
            interest = tf.matmul(weights * is_key[:, tf.newaxis, :], keys)  # [batch, Q, width]
            x = tf.concat([ragged.unpad(interest, q), q.flat_values], axis=-1)
            for layer in self.mlp:
                x = layer(x)
            logits[target] = self.tokens.with_bias(target, objects, x[:, 0])
        return logits
