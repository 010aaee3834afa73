"""The serving graph: from raw ids and timestamps to scores."""

import functools
from typing import Any, cast

import tensorflow as tf

from atrank_tf.models import ATRank, Ranker
from atrank_tf.models.ranker import batch_size
from data_pipeline import ragged
from export.graph.inputs import Inputs, RawInputs
from export.graph.state import StateTensors
from export.protocol.fields import (
    CANDIDATES,
    EXAMPLES,
    LOGIT,
    RECURRENCE,
    REGRESSION,
    REQUEST_TIME,
    SCORE,
    HistoryFields,
)
from export.protocol.signatures import history_specs

Outputs = dict[str, tf.Tensor]


class Scorer:
    """What an exported model answers: a method for each of `fields.VERBS`, and `encode`.

    Args:
        model: The trained model.
        raw: Reads what is sent.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> raw = RawInputs(schema, toy_data() / "objects", tmp, max_history=100)
    >>> scorer = Scorer(LastObject(schema), raw)
    >>> from export.protocol.request import Request, candidate_inputs
    >>> history = {"item": [{"object": 101, "action": "buy", "time": 1500000000}]}
    >>> inputs = candidate_inputs([Request(1500000060, [101, 102], history)], schema)
    >>> tensors = {name: tf.constant(values) for name, values in inputs.items()}
    >>> scorer.score_candidates(tensors, "item")["logit"].numpy().tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, model: Ranker, raw: RawInputs) -> None:
        self.model = model
        self._raw = raw
        # What several signatures do is one function that they call: it is traced, stored and
        # loaded once.
        shared = functools.partial(tf.function, autograph=False)
        specs = history_specs(model.schema)
        self._history = shared(raw.history, input_signature=[specs])
        self._state = shared(self._encoded, input_signature=[specs])
        traced = self._state.get_concrete_function().structured_outputs
        template = tf.nest.map_structure(tf.type_spec_from_value, traced)
        self.state = StateTensors(template)
        rows, query_time = tf.RaggedTensorSpec([None, None], tf.int64, 1), specs[REQUEST_TIME]
        self._logits, self._weights = {}, {}
        for target in model.schema.target_names:
            self._logits[target] = shared(
                functools.partial(self._scored, target=target),
                input_signature=[template, rows, rows, query_time],
            )
            self._weights[target] = shared(
                functools.partial(self._attended, target=target),
                input_signature=[template, rows, query_time],
            )

    def encode(self, inputs: Inputs) -> Outputs:
        """Returns the user state of each row, to be kept and sent to `score_memory`."""
        return self.state.pack(self._state(self._history_inputs(inputs)))

    def score(self, inputs: Inputs, target: str) -> Outputs:
        """Scores one candidate a row.

        Args:
            inputs: As `export.protocol.signatures` describes them.
            target: The group of the candidates.

        Returns:
            `score` and `logit`, float32 [batch].
        """
        candidate = self._raw.candidate(inputs, target)
        state = self._state(self._history_inputs(inputs))
        logit = self._logits[target](state, *candidate, inputs[REQUEST_TIME]).flat_values
        return {SCORE: tf.sigmoid(logit), LOGIT: logit}

    def score_candidates(self, inputs: Inputs, target: str) -> Outputs:
        """Scores many candidates a row, whose history is encoded once.

        Returns:
            `score` and `logit`, float32 [batch, N]; beyond `num_candidates` a score of 0 and
            the lowest logit there is.
        """
        return self._score_many(self._state(self._history_inputs(inputs)), inputs, target)

    def score_memory(self, inputs: Inputs, target: str) -> Outputs:
        """Scores many candidates a row against what `encode` returned.

        Returns:
            As `score_candidates`; what a state of other numbers makes NaN scores 0, too.

        Raises:
            InvalidArgumentError: Another version of the package encoded a user state.
        """
        return self._score_many(self.state.unpack(inputs), inputs, target)

    def score_examples(self, inputs: Inputs, target: str) -> Outputs:
        """Scores one serialized `tf.Example` a row; named as servers' regressions have it.

        Returns:
            `outputs`, a score, float32 [batch]; no other, or servers would not regress by it.
        """
        outputs = self.score(self._raw.examples(inputs[EXAMPLES], target), target)
        return {REGRESSION: outputs[SCORE]}

    def explain(self, inputs: Inputs, target: str) -> Outputs:
        """Returns how much a row's candidate attends to each behavior that was sent.

        Returns:
            For each group `GROUP_weights`, float32 [batch, T], in the order of the request:
            means over the latent spaces, which sum to 1 over all groups. 0 for what was not
            read; all are where nothing was. Of a model that looks candidates up also `recurrence`,
            what it found, int64 [batch, numbers]: see `data_pipeline.recurrence`.
        """
        history_inputs, query_time = self._history_inputs(inputs), inputs[REQUEST_TIME]
        state = self._state(history_inputs)
        history = self._raw.newest(self._history(history_inputs))
        candidate, fingerprint = self._raw.candidate(inputs, target)
        weights = self._weights[target](state, candidate, query_time)
        outputs, first = {}, tf.zeros_like(query_time)
        if self.model.look_ups is not None:
            found = self._looked_up(state[1], candidate, fingerprint, query_time, target)
            outputs[RECURRENCE] = found.flat_values
        for group in self.model.schema.groups:
            fields = HistoryFields(group)
            positions = history[group.name]["position"]
            batch_rows = ragged.row_ids(positions)
            columns = tf.ragged.range(positions.row_lengths()).flat_values
            columns += tf.gather(first, batch_rows)
            outputs[fields.weights] = tf.scatter_nd(
                tf.stack([batch_rows, positions.flat_values], axis=1),
                tf.gather_nd(weights, tf.stack([batch_rows, columns], axis=1)),
                tf.shape(inputs[fields.times], tf.int64),
            )
            first += positions.row_lengths()
        return outputs

    def _encoded(self, inputs: Inputs) -> Any:
        """The user state; of a model that looks candidates up, what the user touched beside it."""
        history, query_time = self._history(inputs), inputs[REQUEST_TIME]
        encoded = self.model.encode(self._raw.newest(history), query_time)
        if self.model.look_ups is None:
            return encoded
        return encoded, self.model.look_ups.touched(history, batch_size(query_time))

    def _scored(
        self,
        state: Any,
        candidates: tf.RaggedTensor,
        fingerprints: tf.RaggedTensor,
        query_time: tf.Tensor,
        target: str,
    ) -> tf.RaggedTensor:
        recurrence = None
        if self.model.look_ups is not None:
            state, touched = state
            found = self._looked_up(touched, candidates, fingerprints, query_time, target)
            recurrence = {target: found}
        return self.model.score(state, {target: candidates}, query_time, recurrence)[target]

    def _looked_up(
        self,
        touched: tf.RaggedTensor,
        candidates: tf.RaggedTensor,
        fingerprints: tf.RaggedTensor,
        query_time: tf.Tensor,
        target: str,
    ) -> tf.RaggedTensor:
        """What look-ups found of candidates: int64 [batch, (candidates), numbers]."""
        assert self.model.look_ups is not None
        return self.model.look_ups.look_up(
            touched, {target: candidates}, query_time, {target: fingerprints}
        )[target]

    def _attended(
        self, state: Any, candidate: tf.RaggedTensor, query_time: tf.Tensor, target: str
    ) -> tf.Tensor:
        """Weights [batch, behaviors], means over the latent spaces."""
        model = cast(ATRank, self.model)
        if model.look_ups is not None:
            state, _ = state
        attention = model.candidate_attention(state, {target: candidate}, query_time)[target]
        return tf.reduce_mean(attention, axis=0)[:, 0]

    def _score_many(self, state: object, inputs: Inputs, target: str) -> Outputs:
        candidates = self._raw.candidates(inputs, target)
        logits = self._logits[target](state, *candidates, inputs[REQUEST_TIME])
        logit = logits.to_tensor(tf.float32.min, shape=tf.shape(inputs[CANDIDATES], tf.int64))
        # A state that is sent may hold anything, NaN too.
        logit = tf.where(tf.math.is_nan(logit), tf.float32.min, logit)
        return {SCORE: tf.sigmoid(logit), LOGIT: logit}

    def _history_inputs(self, inputs: Inputs) -> Inputs:
        return {name: inputs[name] for name in history_specs(self.model.schema)}
