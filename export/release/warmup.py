"""Requests that a server replays when it loads a version, before it answers any other.

The first request of a signature pays for what TensorFlow does once: it optimizes the graph,
and allocates. TensorFlow Serving replays `assets.extra/tf_serving_warmup_requests`, a file of
`PredictionLog`s (https://www.tensorflow.org/tfx/serving/saved_model_warmup), so no user pays.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema
from export.protocol.request import Inputs, Request, candidate_inputs
from export.protocol.tensors import predict_request

FILE_NAME = "tf_serving_warmup_requests"

_NUM_CANDIDATES = (1, 100)


def requests(schema: Schema, objects_dir: Path, max_history: int) -> Iterator[tuple[str, Inputs]]:
    """Makes up requests: a full history of each group and none, one candidate and many.

    Args:
        schema: The schema.
        objects_dir: Tables of the known objects, GROUP.parquet.
        max_history: Behaviors of each group that a model reads.

    Yields:
        A target, and the inputs of its `score_candidates`.
    """
    day = schema.units_per_day
    known = {
        group.name: _known(group, objects_dir, max(_NUM_CANDIDATES)) for group in schema.groups
    }
    history = {
        group.name: [
            {
                "object": known[group.name][place % len(known[group.name])],
                "time": place * day,
                **({"action": group.actions[place % len(group.actions)]} if group.actions else {}),
            }
            for place in range(max_history)
        ]
        for group in schema.groups
    }
    for target in schema.targets:
        for behaviors, count in zip((history, {}), reversed(_NUM_CANDIDATES), strict=True):
            ids = known[target][:count]
            yield (
                target,
                candidate_inputs([Request(max_history * day, ids, behaviors, target)], schema),
            )


def write(path: Path, inputs: Mapping[str, list[Inputs]], model_name: str) -> None:
    """Writes a file of requests.

    Args:
        path: The file.
        inputs: By signature what it is asked.
        model_name: What servers know the model by.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, several in inputs.items():
            for asked in several:
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(predict_request(model_name, signature, asked))
                writer.write(log.SerializeToString())


def read(path: Path) -> list[tuple[str, Inputs]]:
    """Reads a file of requests: of each its signature and inputs.

    Raises:
        UserError: It is damaged.
    """
    found = []
    try:
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    except tf.errors.DataLossError:
        raise UserError(f"{path}: is damaged: a record does not match its checksum") from None
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        found.append((request.model_spec.signature_name, inputs))
    return found


def _known(group: Group, objects_dir: Path, count: int) -> list:
    """The first known ids of a group; at least one, which may be unknown."""
    table = pq.read_table(objects_dir / f"{group.name}.parquet", columns=["object"])
    unknown = -1 if group.id_type == "int" else ""
    return table["object"][:count].to_pylist() or [unknown]
