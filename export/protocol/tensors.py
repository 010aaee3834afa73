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
    """Returns a request of a signature, as servers take it.

    Args:
        model: What the server knows the model by.
        signature: The signature's name.
        inputs: Its inputs by name.

    Example:

    >>> request = predict_request("atrank", "encode", {"request_time": np.array([1512950400])})
    >>> request.inputs["request_time"].int64_val, request.model_spec.signature_name
    ([1512950400], 'encode')
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def inputs_by_signature(inputs: Inputs, schema: Schema) -> dict[str, Inputs]:
    """Returns the inputs of `candidate_inputs` as each of the verbs takes them.

    Those that take one candidate a row get a row for each candidate, with the history
    repeated. `score_memory` lacks the user state, which is what `encode` returns.

    Args:
        inputs: What `candidate_inputs` returned.
        schema: The schema that the export holds.

    Example:

    >>> from export.protocol.request import Request, candidate_inputs
    >>> schema, _ = toy_schema_and_catalog()
    >>> by_verb = inputs_by_signature(candidate_inputs([Request(5, [101, 102])], schema), schema)
    >>> by_verb["score"]["candidate"].tolist(), by_verb["score_candidates"]["candidates"].tolist()
    ([101, 102], [[101, 102]])
    >>> sorted(by_verb["score_memory"])
    ['candidates', 'num_candidates', 'request_time']
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
    """Returns each row of a point-wise request as a serialized `tf.Example`, bytes [batch].

    Args:
        rows: What `one_candidate_rows` returned.
        schema: The schema that the export holds.

    Example:

    >>> from export.protocol.request import Request, candidate_inputs
    >>> schema, _ = toy_schema_and_catalog()
    >>> rows = one_candidate_rows(candidate_inputs([Request(5, [101])], schema))
    >>> (serialized,) = serialize_examples(rows, schema)
    >>> tf.train.Example.FromString(serialized).features.feature["candidate"].int64_list.value
    [101]
    """
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
