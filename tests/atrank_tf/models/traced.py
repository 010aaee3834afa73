"""A model's verbs, traced once for batches of every shape: many examples are scored fast."""

from typing import Any

import tensorflow as tf

from atrank_tf import ATRank
from tests.atrank_tf.batches import Example, make_batch


class Traced:
    """`encode`, `extend` and `score` of ATRank, for batches of `make_batch`."""

    def __init__(self, model: ATRank) -> None:
        batch = tf.nest.map_structure(_any_shape, make_batch([], model.schema))
        history, query_time = batch["history"], batch["query_time"]
        self._schema = model.schema
        self.encode = tf.function(model.encode, [history, query_time], autograph=False)
        outputs = self.encode.get_concrete_function().structured_outputs
        state = tf.nest.map_structure(tf.type_spec_from_value, outputs)
        self.extend = tf.function(model.extend, [state, history], autograph=False)
        self.score = tf.function(
            model.score, [state, batch["candidates"], query_time], autograph=False
        )

    def logits(self, examples: list[Example]) -> list[dict[str, list[float]]]:
        """The logits of each example by target."""
        batch = make_batch(examples, self._schema)
        state = self.encode(batch["history"], batch["query_time"])
        scores = self.score(state, batch["candidates"], batch["query_time"])
        rows = {target: ragged.to_list() for target, ragged in scores.items()}
        return [{t: rows[t][i] for t in rows} for i in range(len(examples))]


def _any_shape(tensor: Any) -> tf.TypeSpec:
    if isinstance(tensor, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None], tensor.dtype, row_splits_dtype=tf.int64)
    return tf.TensorSpec([None], tensor.dtype)
