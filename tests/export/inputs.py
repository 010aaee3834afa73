"""A request, and what the signatures take of it."""

from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf import Schema
from export.protocol.request import Request, candidate_inputs, one_candidate_rows
from tests.conftest import DAY, START
from tests.exports import Inputs

QUERY_TIME = START + 400 * DAY
HISTORY: dict[str, list[dict[str, Any]]] = {
    "item": [
        {"object": 101, "action": "buy", "time": START + 5},
        {"object": 102, "action": "view", "time": START + 90 * DAY},
        {"object": 105, "action": "view", "time": START + 90 * DAY},
    ],
    "query": [{"object": 3, "time": START + 399 * DAY}],
}
REQUEST: dict[str, Any] = {"time": QUERY_TIME, "history": HISTORY, "candidates": [101, 110, 133]}


def many_inputs(request: dict[str, Any], schema: Schema) -> Inputs:
    return candidate_inputs([Request.from_json(request)], schema)


def inputs_of(request: dict[str, Any], schema: Schema) -> Inputs:
    """The inputs of the point-wise signature."""
    return one_candidate_rows(many_inputs(request, schema))


def example(**features: list[Any]) -> bytes:
    def feature(values: list[Any]) -> tf.train.Feature:
        if all(isinstance(value, int) for value in values):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        texts = [value.encode() for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))

    named = {name: feature(values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()


def changed(inputs: Inputs, **changes: Any) -> Inputs:
    return {**inputs, **{name: np.array(value) for name, value in changes.items()}}
