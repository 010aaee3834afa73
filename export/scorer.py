"""The serving graph: from raw ids and timestamps to scores."""

import functools
from typing import Any, cast

import tensorflow as tf

from atrank_tf import ragged
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
        # What several signatures do is one function that they call: it is traced, stored and
        # loaded once.
        shared = functools.partial(tf.function, autograph=False)
        specs = history_specs(model.schema)
        self._history = shared(raw.history, input_signature=[specs])
        self._memory = shared(self._encoded, input_signature=[specs])
        traced = self._memory.get_concrete_function().structured_outputs
        template = tf.nest.map_structure(tf.type_spec_from_value, traced)
        self.memory = Memory(template)
        rows, now = tf.RaggedTensorSpec([None, None], tf.int64, 1), specs["request_time"]
        self._logits, self._weights = {}, {}
        for target in model.schema.targets:
            self._logits[target] = shared(
                functools.partial(self._scored, target=target),
                input_signature=[template, rows, now],
            )
            self._weights[target] = shared(
                functools.partial(self._attended, target=target),
                input_signature=[template, rows, now],
            )

    def encode(self, inputs: Inputs) -> Outputs:
        """Returns the memory of each row's user, to be kept and sent to `score_memory`."""
        return self.memory.pack(self._memory(self._of_history(inputs)))

    def score(self, inputs: Inputs, target: str) -> Outputs:
        """Scores one candidate a row.

        Args:
            inputs: As `export.signature` describes them.
            target: The group of the candidates.

        Returns:
            `score` and `logit`, float32 [batch].
        """
        candidate = self._raw.candidate(inputs, target)
        memory = self._memory(self._of_history(inputs))
        logit = self._logits[target](memory, candidate, inputs["request_time"]).flat_values
        return {"score": tf.sigmoid(logit), "logit": logit}

    def score_candidates(self, inputs: Inputs, target: str) -> Outputs:
        """Scores many candidates a row, whose history is encoded once.

        Returns:
            `score` and `logit`, float32 [batch, N]; beyond `num_candidates` a score of 0 and
            the lowest logit there is.
        """
        return self._many(self._memory(self._of_history(inputs)), inputs, target)

    def score_memory(self, inputs: Inputs, target: str) -> Outputs:
        """Scores many candidates a row against what `encode` returned.

        Returns:
            As `score_candidates`; what a memory of other numbers makes NaN scores 0, too.
        """
        return self._many(self.memory.unpack(inputs), inputs, target)

    def score_examples(self, inputs: Inputs, target: str) -> Outputs:
        """Scores one serialised `tf.Example` a row; named as servers' regressions have it.

        Returns:
            `outputs`, a score, float32 [batch]; no other, or servers would not regress by it.
        """
        found = self.score(self._raw.examples(inputs["inputs"], target), target)
        return {"outputs": found["score"]}

    def explain(self, inputs: Inputs, target: str) -> Outputs:
        """Returns how much a row's candidate attends to each behaviour that was sent.

        Returns:
            For each group `GROUP_weights`, float32 [batch, T], in the order of the request:
            means over the latent spaces, which sum to 1 over all groups. 0 for what was not
            read; all are where nothing was.
        """
        asked, now = self._of_history(inputs), inputs["request_time"]
        history, memory = self._history(asked), self._memory(asked)
        weights = self._weights[target](memory, self._raw.candidate(inputs, target), now)
        outputs, first = {}, tf.zeros_like(now)
        for group in self.model.schema.groups:
            places = history[group.name]["place"]
            owners = ragged.row_ids(places)
            behind = tf.ragged.range(places.row_lengths()).flat_values + tf.gather(first, owners)
            outputs[f"{group.name}_weights"] = tf.scatter_nd(
                tf.stack([owners, places.flat_values], axis=1),
                tf.gather_nd(weights, tf.stack([owners, behind], axis=1)),
                tf.shape(inputs[f"{group.name}_times"], tf.int64),
            )
            first += places.row_lengths()
        return outputs

    def _encoded(self, inputs: Inputs) -> object:
        return self.model.encode(self._history(inputs), inputs["request_time"])

    def _scored(
        self, memory: object, candidates: tf.RaggedTensor, now: tf.Tensor, target: str
    ) -> tf.RaggedTensor:
        return self.model.score(memory, {target: candidates}, now)[target]

    def _attended(
        self, memory: Any, candidate: tf.RaggedTensor, now: tf.Tensor, target: str
    ) -> tf.Tensor:
        """Weights [batch, behaviours], means over the latent spaces."""
        model = cast(ATRank, self.model)
        attention = model.candidate_attention(memory, {target: candidate}, now)[target]
        return tf.reduce_mean(attention, axis=0)[:, 0]

    def _many(self, memory: object, inputs: Inputs, target: str) -> Outputs:
        candidates = self._raw.candidates(inputs, target)
        logits = self._logits[target](memory, candidates, inputs["request_time"])
        logit = logits.to_tensor(tf.float32.min, shape=tf.shape(inputs["candidates"], tf.int64))
        # A memory that is sent may hold anything, NaN too.
        logit = tf.where(tf.math.is_nan(logit), tf.float32.min, logit)
        return {"score": tf.sigmoid(logit), "logit": logit}

    def _of_history(self, inputs: Inputs) -> Inputs:
        return {name: inputs[name] for name in history_specs(self.model.schema)}
