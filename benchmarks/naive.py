"""The naive form: what the package's way of training is measured against.

The layers and the mathematics are those of `ATRank(form="paper")`. The work is done as in the
paper's released code: batches of 32 rows in random order, whatever their length, padded to
the longest; a history is encoded anew for each candidate; dense layers compute the padding.
"""

import math
from typing import Any

import tensorflow as tf

from atrank_tf import ATRank
from atrank_tf.layers import AttentionBlock
from data_pipeline import BatchOptions, TimelineData, ragged

NAIVE_ROWS = 32
_SHUFFLED_ROWS = 20_000


def naive_batches(data: TimelineData, max_history: int, seed: int) -> tf.data.Dataset:
    """Returns batches of 32 rows in random order, each a history and one candidate.

    The rows that wait to be shuffled are part of this form's peak of memory.
    """
    batches = data.batches("train", BatchOptions(max_history=max_history), seed=seed)
    (target,) = data.schema.target_names

    def rows(inputs: dict[str, Any], labels: tf.Tensor) -> tuple[dict[str, Any], tf.Tensor]:
        candidates = inputs["candidates"][target]
        owner = candidates.value_rowids()
        gathered = tf.nest.map_structure(
            lambda rows: tf.gather(rows, owner),
            {key: inputs[key] for key in ("user", "query_time", "history")},
        )
        return gathered | {"candidates": {target: candidates.flat_values}}, labels

    def as_ragged(inputs: dict[str, Any], labels: tf.Tensor) -> tuple[dict[str, Any], tf.Tensor]:
        candidates = ragged.from_uniform_row_length(inputs["candidates"][target], 1)
        return inputs | {"candidates": {target: candidates}}, labels

    shuffled = batches.map(rows).unbatch().shuffle(_SHUFFLED_ROWS, seed)
    return shuffled.ragged_batch(NAIVE_ROWS, row_splits_dtype=tf.int64).map(as_ragged).prefetch(4)


class NaiveATRank(ATRank):
    """`ATRank(form="paper")`, which in training computes on padded rows."""

    def call(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """Returns the logits of rows of one candidate each, float32 [batch]."""
        if not training:
            return super().call(inputs)
        tokens, masks = [], []
        for group in self.schema.groups:
            history = inputs["history"][group.name]
            dense = {name: column.to_tensor() for name, column in history.items()}
            padded = {
                name: ragged.from_tensor(column, row_splits_dtype=tf.int64)
                for name, column in dense.items()
            }
            encoded = self.tokens.behaviors[group.name](padded, inputs["query_time"], training=True)
            shape = tf.shape(dense["object"])
            tokens.append(tf.reshape(encoded.flat_values, [shape[0], shape[1], self.width]))
            masks.append(tf.sequence_mask(history["object"].row_lengths(), shape[1]))
        behaviors, mask = tf.concat(tokens, axis=1), tf.concat(masks, axis=1)
        for block in self.self_attention:
            behaviors = _attend(block, behaviors, behaviors, mask)
        ((target, objects),) = inputs["candidates"].items()
        h = self.tokens.candidates(target, objects, training=True).flat_values[:, tf.newaxis, :]
        e = _attend(self.vanilla_attention, h, behaviors, mask)
        return tf.reduce_sum(h * e, axis=[1, 2]) / math.sqrt(self.width) + self.tokens.bias(
            target, objects
        )


def _attend(
    block: AttentionBlock, queries: tf.Tensor, behaviors: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """The block on padded rows: queries [batch, Q, width], behaviors [batch, T, width]."""
    attention = block.attention
    depth = attention.width // attention.num_spaces

    def spaces(x: tf.Tensor, parts: int) -> list[tf.Tensor]:
        shape = [tf.shape(x)[0], tf.shape(x)[1], parts, attention.num_spaces, depth]
        return tf.unstack(tf.transpose(tf.reshape(x, shape), [2, 0, 3, 1, 4]))  # type: ignore[arg-type]

    (q,) = spaces(attention.query(queries), 1)
    k, v = spaces(attention.key_value(behaviors), 2)
    scores = tf.matmul(q, k, transpose_b=True) / math.sqrt(depth)
    seen = tf.cast(mask, scores.dtype)[:, tf.newaxis, tf.newaxis, :]
    # Multiplying once more leaves nothing of a row that is all padding.
    weights = tf.nn.softmax(scores - 1e9 * (1 - seen)) * seen
    context = tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3])
    context = tf.reshape(context, tf.shape(queries))
    x = block.attention_norm(queries + block.drop(context, training=True))
    y = block.drop(block.outer(block.inner(x)), training=True)
    return block.feed_forward_norm(x + y)
