"""Requests that a server replays when it loads a version, before it answers any other.

The first request of a signature pays for what TensorFlow does once: it optimizes the graph,
and allocates. TensorFlow Serving replays `assets.extra/tf_serving_warmup_requests`, a file of
`PredictionLog`s (https://www.tensorflow.org/tfx/serving/saved_model_warmup), so no user pays.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema
from export.protocol.request import Inputs, Request, candidate_inputs
from export.protocol.tensors import predict_request

FILE_NAME = "tf_serving_warmup_requests"

_MANY_CANDIDATES = 100


def requests(schema: Schema, objects_dir: Path, max_history: int) -> Iterator[tuple[str, Inputs]]:
    """Makes up requests: a full history of each group and none, one candidate and many.

    Args:
        schema: The schema.
        objects_dir: Tables of the known objects, GROUP.parquet.
        max_history: Behaviors of each group that a model reads.

    Yields:
        A target, and the inputs of its `score_candidates`.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> for target, inputs in requests(schema, toy_data() / "objects", max_history=3):
    ...     print(target, inputs["item_length"], inputs["num_candidates"])
    item [3] [40]
    item [0] [1]
    query [3] [8]
    query [0] [1]
    """
    ids = {group.name: _first_ids(group, objects_dir, _MANY_CANDIDATES) for group in schema.groups}
    full_history = {
        group.name: _made_up_behaviors(group, ids[group.name], schema.units_per_day, max_history)
        for group in schema.groups
    }
    query_time = max_history * schema.units_per_day
    for target in schema.target_names:
        for history, count in ((full_history, _MANY_CANDIDATES), ({}, 1)):
            candidates = ids[schema.target(target).group][:count]
            request = Request(query_time, candidates, history, target)
            yield target, candidate_inputs([request], schema)


def write(path: Path, inputs_by_signature: Mapping[str, list[Inputs]], model_name: str) -> None:
    """Writes a file of requests.

    Args:
        path: The file.
        inputs_by_signature: By signature the inputs of each of its requests.
        model_name: What servers know the model by.

    Example:

    >>> write(tmp / FILE_NAME, {"encode": [{"request_time": np.array([5])}]}, "atrank")
    >>> read(tmp / FILE_NAME)
    [('encode', {'request_time': array([5])})]
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, requests_inputs in inputs_by_signature.items():
            for inputs in requests_inputs:
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(predict_request(model_name, signature, inputs))
                writer.write(log.SerializeToString())


def read(path: Path) -> list[tuple[str, Inputs]]:
    """Reads a file of requests: of each its signature and inputs.

    Args:
        path: The file.

    Raises:
        UserError: It is damaged.

    Example:

    >>> requests = read(toy_export() / "assets.extra" / FILE_NAME)
    >>> sorted({signature for signature, _ in requests})[:3]
    ['encode', 'explain', 'explain__query']
    """
    try:
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    except tf.errors.DataLossError:
        raise UserError(f"{path}: is damaged: a record does not match its checksum") from None
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    return [_signature_and_inputs(log.predict_log.request) for log in logs]


def _signature_and_inputs(request: predict_pb2.PredictRequest) -> tuple[str, Inputs]:
    inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
    return request.model_spec.signature_name, inputs


def _made_up_behaviors(group: Group, ids: list, spacing: int, count: int) -> list[dict[str, Any]]:
    """Behaviors with each of the ids, and each of the actions, in turn."""
    behaviors: list[dict[str, Any]] = []
    for number in range(count):
        behavior = {"object": ids[number % len(ids)], "time": number * spacing}
        if group.actions:
            behavior["action"] = group.actions[number % len(group.actions)]
        behaviors.append(behavior)
    return behaviors


def _first_ids(group: Group, objects_dir: Path, count: int) -> list:
    """The first known ids of a group; at least one, which may be unknown."""
    table = pq.read_table(objects_dir / f"{group.name}.parquet", columns=["object"])
    unknown = -1 if group.id_type == "int" else ""
    return table["object"][:count].to_pylist() or [unknown]
