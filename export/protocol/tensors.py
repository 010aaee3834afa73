"""Requests as protocol buffers, which servers take. It loads TensorFlow, for its messages."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from data_pipeline.schema import Schema
from export.protocol.fields import (
    CANDIDATE,
    CANDIDATES,
    EXAMPLES,
    NUM_CANDIDATES,
    REQUEST_TIME,
    HistoryFields,
)
from export.protocol.request import Inputs, one_candidate_rows


def predict_request(
    model: str, signature: str, inputs: Mapping[str, np.ndarray]
) -> predict_pb2.PredictRequest:
    """Returns what a signature is asked, as servers take it."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def inputs_by_signature(inputs: Inputs, schema: Schema) -> dict[str, Inputs]:
    """Returns what the inputs of `candidate_inputs` ask, as each of the verbs takes it.

    Those that take one candidate a row get a row for each candidate, with the history
    repeated. `score_memory` lacks the user state, which is what "encode" returns.
    """
    rows = one_candidate_rows(inputs)
    return {
        "score": rows,
        "score_candidates": inputs,
        "score_examples": {EXAMPLES: serialize_examples(rows, schema)},
        "encode": {n: v for n, v in inputs.items() if n not in (CANDIDATES, NUM_CANDIDATES)},
        "score_memory": {n: inputs[n] for n in (CANDIDATES, NUM_CANDIDATES, REQUEST_TIME)},
        "explain": rows,
    }


def serialize_examples(rows: Inputs, schema: Schema) -> np.ndarray:
    """Returns each row of a point-wise request as a serialized `tf.Example`, bytes [batch]."""
    lengths = {
        name: rows[HistoryFields(group).length]
        for group in schema.groups
        for name in HistoryFields(group).columns.values()
    }
    examples = []
    for row in range(len(rows[CANDIDATE])):
        features = {name: _feature(rows[name][row, : n[row]]) for name, n in lengths.items()}
        for name in (CANDIDATE, REQUEST_TIME):
            features[name] = _feature(rows[name][row : row + 1])
        proto = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(proto.SerializeToString())
    return np.array(examples, object)


def _feature(values: np.ndarray) -> tf.train.Feature:
    if values.dtype.kind == "i":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    texts = [str(value).encode() for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
