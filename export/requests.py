"""Requests as a person writes them, and as the signatures take them.

One request is one user at one time. As JSON, with histories in any order, of any groups:

    {"time": 1512950400,
     "history": {"product": [{"object": 1095275, "action": "purchase", "time": 1512000000}]},
     "candidates": [1041453, 820165],
     "target": "product"}

Without a "target" the candidates are of the schema's first one.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from atrank_tf.errors import UserError
from atrank_tf.schema import Group, Schema

Inputs = dict[str, np.ndarray]

_EVENT_KEYS = {"object", "action", "time"}


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked: scores of some candidates for one user at one time.

    Attributes:
        time: The moment of the request, in the schema's time unit.
        candidates: Raw ids of objects of the target group.
        history: By group the user's behaviours, in any order: a sequence of mappings with
            `object`, `time` and, where the group lists its actions, `action`; or a data
            frame with these columns. Groups may be left out.
        target: The group of the candidates; the schema's first target by default.
    """

    time: int
    candidates: Sequence[int] | Sequence[str]
    history: Mapping[str, Sequence[Mapping[str, Any]] | pd.DataFrame] = dataclasses.field(
        default_factory=dict
    )
    target: str = ""

    @classmethod
    def from_json(cls, value: Any) -> "Request":
        """Makes a request of a parsed JSON object.

        Raises:
            UserError: It is no object, or a key is missing or unknown.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        _check_keys(value, names, required=("time", "candidates"))
        return cls(**value)


def of_target(requests: Sequence[Request], schema: Schema) -> dict[str, list[int]]:
    """Returns by target which requests ask for it.

    Raises:
        UserError: A target is not one of the schema's.
    """
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        target = request.target or schema.targets[0]
        if target not in schema.targets:
            raise UserError(f"target {target!r}: expected one of {', '.join(schema.targets)}")
        places.setdefault(target, []).append(place)
    return places


def many(requests: Sequence[Request], schema: Schema) -> Inputs:
    """Returns the inputs of `score_candidates`: a row for each request.

    Args:
        requests: At least one; all of one target.
        schema: The schema that the export holds.

    Raises:
        UserError: A value is of another type than was expected, or a group is unknown.
    """
    (target,) = of_target(requests, schema)
    candidates = [_ids(r.candidates, schema.group(target), "candidates") for r in requests]
    inputs = {
        "candidates": _padded(candidates),
        "num_candidates": np.array([len(ids) for ids in candidates], np.int64),
        "request_time": np.array([_time(r.time, "time") for r in requests], np.int64),
    }
    names = [group.name for group in schema.groups]
    for request in requests:
        for name in _typed(request.history, Mapping, "history", "an object, group by group"):
            if name not in names:
                raise UserError(f"history: group {name!r}: expected one of {', '.join(names)}")
    for group in schema.groups:
        rows = [_columns(request.history.get(group.name, []), group) for request in requests]
        for name in rows[0]:
            inputs[f"{group.name}_{name}"] = _padded([row[name] for row in rows])
        lengths = [len(row["objects"]) for row in rows]
        inputs[f"{group.name}_length"] = np.array(lengths, np.int64)
    return inputs


def by_verb(inputs: Inputs) -> dict[str, Inputs]:
    """Returns what the inputs of `many` ask, as each of the verbs takes it.

    Those that take one candidate a row get a row for each candidate, with the history
    repeated. `score_memory` lacks the memory, which is what "encode" returns.
    """
    history = {n: v for n, v in inputs.items() if n not in ("candidates", "num_candidates")}
    counts = inputs["num_candidates"]
    is_real = np.arange(inputs["candidates"].shape[1]) < counts[:, np.newaxis]
    rows = {name: np.repeat(values, counts, axis=0) for name, values in history.items()}
    rows["candidate"] = inputs["candidates"][is_real]
    asked = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}
    return {
        "score": rows,
        "score_candidates": inputs,
        "score_examples": {"inputs": _examples(rows)},
        "encode": history,
        "score_memory": asked,
        "explain": rows,
    }


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


def _examples(rows: Inputs) -> np.ndarray:
    """Each row of a point-wise request as a serialised `tf.Example`."""

    def feature(values: np.ndarray) -> tf.train.Feature:
        if values.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        texts = [str(value).encode() for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))

    examples = []
    for row in range(len(rows["candidate"])):
        features = {}
        for name, values in rows.items():
            group = name.rpartition("_")[0]
            length = rows[f"{group}_length"][row] if values.ndim == 2 else None
            if not name.endswith("_length"):
                features[name] = feature(np.atleast_1d(values[row])[:length])
        proto = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(proto.SerializeToString())
    return np.array(examples, object)


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    # A width of at least 1, also where there is nothing: servers cannot batch less.
    padded = np.zeros((len(rows), max(1, *map(len, rows))), rows[0].dtype)
    if padded.dtype == object:
        padded[:] = ""
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _columns(events: Any, group: Group) -> Inputs:
    """A group's behaviours of one user, as one array for each input."""
    where = f"history: {group.name}"
    if isinstance(events, pd.DataFrame):
        events = events.to_dict("records")
    events = _typed(events, Sequence, where, "a list of behaviours")
    for event in events:
        _check_keys(event, _EVENT_KEYS, required=("object", "time"), where=where)
    columns = {
        "objects": _ids([event["object"] for event in events], group, where),
        "times": np.array([_time(event["time"], where) for event in events], np.int64),
    }
    if group.actions:
        names = [
            _typed(event.get("action", ""), str, where, "the action as a string")
            for event in events
        ]
        columns["actions"] = np.array(names, object)
    return columns


def _ids(values: Any, group: Group, where: str) -> np.ndarray:
    if isinstance(values, np.ndarray | pd.Series):
        values = values.tolist()
    values = _typed(values, Sequence, where, "a list of object ids")
    is_int = group.id_type == "int"
    for value in values:
        if not isinstance(value, int | np.integer if is_int else str) or isinstance(value, bool):
            kind = "an integer" if is_int else "a string"
            raise UserError(f"{where}: object {value!r}: expected {kind}")
    try:
        return np.array(values, np.int64 if is_int else object)
    except OverflowError:
        raise UserError(f"{where}: object id beyond 64 bits: {max(values, key=abs)}") from None


def _time(value: Any, where: str) -> int:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 2**63:
        raise UserError(f"{where}: time {value!r}: expected a number of 0 or more")
    return int(value)


def _typed(value: Any, kind: type, where: str, expected: str) -> Any:
    if not isinstance(value, kind) or (kind is Sequence and isinstance(value, str)):
        raise UserError(f"{where}: {value!r}: expected {expected}")
    return value


def _check_keys(
    value: Any, known: set[str], required: tuple[str, ...], where: str = "request"
) -> None:
    _typed(value, Mapping, where, "a JSON object")
    for key in required:
        if key not in value:
            raise UserError(f"{where}: {key!r} is missing")
    for key in value:
        if key not in known:
            raise UserError(f"{where}: key {key!r}: expected one of {', '.join(sorted(known))}")
