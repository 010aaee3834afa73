"""The serving graph: from raw ids and timestamps to scores."""

from typing import cast

import tensorflow as tf

from atrank_tf.models import ATRank, Ranker
from export.memory import Memory
from export.raw_inputs import Inputs, RawInputs
from export.signature import history_specs

Outputs = dict[str, tf.Tensor]


class Scorer:
    """What an exported model answers: a method for each of `signature.VERBS`, and `encode`.

    Args:
        model: The trained model.
        raw: Reads what is sent.
    """

    def __init__(self, model: Ranker, raw: RawInputs) -> None:
        self.model = model
        self._raw = raw
        traced = tf.function(self._memory).get_concrete_function(history_specs(model.schema))
        self.memory = Memory(
            tf.nest.map_structure(tf.type_spec_from_value, traced.structured_outputs)
        )

    def encode(self, inputs: Inputs) -> Outputs:
        """Returns the memory of each row's user, to be kept and sent to `score_memory`."""
        return self.memory.pack(self._memory(inputs))

    def score(self, inputs: Inputs, target: str) -> Outputs:
        """Scores one candidate a row.

        Args:
            inputs: As `export.signature` describes them.
            target: The group of the candidates.

        Returns:
            `score` and `logit`, float32 [batch].
        """
        candidate = self._raw.candidate(inputs, target)
        logit = self.model.score(self._memory(inputs), {target: candidate}, inputs["request_time"])[
            target
        ].flat_values
        return {"score": tf.sigmoid(logit), "logit": logit}

    def score_candidates(self, inputs: Inputs, target: str) -> Outputs:
        """Scores many candidates a row, whose history is encoded once.

        Returns:
            `score` and `logit`, float32 [batch, N]; beyond `num_candidates` a score of 0 and
            the lowest logit there is.
        """
        return self._many(self._memory(inputs), inputs, target)

    def score_memory(self, inputs: Inputs, target: str) -> Outputs:
        """Scores many candidates a row against what `encode` returned.

        Returns:
            As `score_candidates`.
        """
        return self._many(self.memory.unpack(inputs), inputs, target)

    def score_examples(self, inputs: Inputs, target: str) -> Outputs:
        """Scores one serialised `tf.Example` a row; named as servers' regressions have it.

        Returns:
            `outputs`, a score, and `logit`: float32 [batch].
        """
        found = self.score(self._raw.examples(inputs["inputs"], target), target)
        return {"outputs": found["score"], "logit": found["logit"]}

    def explain(self, inputs: Inputs, target: str) -> Outputs:
        """Returns how much a row's candidate attends to each behaviour that was sent.

        Returns:
            For each group `GROUP_weights`, float32 [batch, T], in the order of the request:
            means over the latent spaces, which sum to 1 over all groups. 0 for what was not
            read; all are where nothing was.
        """
        history = self._raw.history(inputs)
        candidate = self._raw.candidate(inputs, target)
        model = cast(ATRank, self.model)
        attention = model.attention(history, {target: candidate}, inputs["request_time"])[target]
        weights = tf.reduce_mean(attention, axis=0)[:, 0]  # [batch, behaviours]
        outputs, first = {}, tf.zeros_like(inputs["request_time"])
        for group in model.schema.groups:
            places = history[group.name]["place"]
            owners = places.value_rowids()
            behind = tf.ragged.range(places.row_lengths()).flat_values + tf.gather(first, owners)
            outputs[f"{group.name}_weights"] = tf.scatter_nd(
                tf.stack([owners, places.flat_values], axis=1),
                tf.gather_nd(weights, tf.stack([owners, behind], axis=1)),
                tf.shape(inputs[f"{group.name}_times"], tf.int64),
            )
            first += places.row_lengths()
        return outputs

    def _memory(self, inputs: Inputs) -> object:
        return self.model.encode(self._raw.history(inputs), inputs["request_time"])

    def _many(self, memory: object, inputs: Inputs, target: str) -> Outputs:
        candidates = self._raw.candidates(inputs, target)
        logits = self.model.score(memory, {target: candidates}, inputs["request_time"])[target]
        logit = logits.to_tensor(tf.float32.min, shape=tf.shape(inputs["candidates"], tf.int64))
        return {"score": tf.sigmoid(logit), "logit": logit}
