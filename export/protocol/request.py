"""Requests as a person writes them, and as the signatures take them.

One request is one user at one query time. As JSON, with histories in any order, of any groups:

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

from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema
from export.protocol.fields import (
    CANDIDATE,
    CANDIDATES,
    NUM_CANDIDATES,
    REQUEST_TIME,
    HistoryFields,
)

Inputs = dict[str, np.ndarray]

# Of times above it one that is 500 times as large is of another unit: from 1990 on, in seconds.
_REAL_SECONDS = 631_152_000

_EVENT_KEYS = {"object", "action", "time"}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request: scores of some candidates for one user at one query time.

    Attributes:
        time: The query time, in the schema's time unit.
        candidates: Raw ids of objects of the target.
        history: By group the user's behaviors, in any order: a sequence of mappings with
            `object`, `time` and, where the group lists its actions, `action`; or a data
            frame with these columns. Groups may be left out.
        target: The group of the candidates; the schema's first target by default.

    Example:

    >>> Request.from_json({"time": 1512950400, "candidates": [1041453, 820165]})
    Request(time=1512950400, candidates=[1041453, 820165], history={}, target='')
    >>> Request.from_json({"time": 1512950400})
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: request: 'candidates' is missing
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


def group_by_target(requests: Sequence[Request], schema: Schema) -> dict[str, list[int]]:
    """Returns by target the positions of the requests that ask for it.

    Raises:
        UserError: A target is not one of the schema's.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> requests = [Request(5, [101]), Request(5, [3], target="query"), Request(5, [102])]
    >>> group_by_target(requests, schema)
    {'item': [0, 2], 'query': [1]}
    """
    positions: dict[str, list[int]] = {}
    for position, request in enumerate(requests):
        target = request.target or schema.target_names[0]
        if target not in schema.target_names:
            raise UserError(f"target {target!r}: expected one of {', '.join(schema.target_names)}")
        positions.setdefault(target, []).append(position)
    return positions


def candidate_inputs(requests: Sequence[Request], schema: Schema) -> Inputs:
    """Returns the inputs of `score_candidates`: a batch row for each request.

    Args:
        requests: At least one; all of one target.
        schema: The schema that the export holds.

    Raises:
        UserError: A value is of another type than was expected, or a group is unknown.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> inputs = candidate_inputs([Request(5, [101, 102]), Request(7, [103])], schema)
    >>> inputs["candidates"].tolist(), inputs["num_candidates"].tolist()
    ([[101, 102], [103, 0]], [2, 1])
    """
    (target,) = group_by_target(requests, schema)
    candidates = [_ids(r.candidates, schema.target_group(target), "candidates") for r in requests]
    inputs = {
        CANDIDATES: _padded(candidates),
        NUM_CANDIDATES: np.array([len(ids) for ids in candidates], np.int64),
        REQUEST_TIME: np.array([_time(r.time, "time") for r in requests], np.int64),
    }
    names = [group.name for group in schema.groups]
    for request in requests:
        for name in _typed(request.history, Mapping, "history", "an object, group by group"):
            if name not in names:
                raise UserError(f"history: group {name!r}: expected one of {', '.join(names)}")
    for group in schema.groups:
        histories = [_columns(request.history.get(group.name, []), group) for request in requests]
        fields = HistoryFields(group)
        for key, name in fields.columns.items():
            inputs[name] = _padded([columns[key] for columns in histories])
        lengths = [len(columns["objects"]) for columns in histories]
        inputs[fields.length] = np.array(lengths, np.int64)
    for position, time in enumerate(inputs[REQUEST_TIME].tolist()):
        times = [
            inputs[fields.times][position, : inputs[fields.length][position]]
            for fields in map(HistoryFields, schema.groups)
        ]
        _check_unit(time, np.concatenate(times), schema)
    return inputs


def one_candidate_rows(inputs: Inputs) -> Inputs:
    """Returns the inputs of point-wise signatures: a batch row for each candidate.

    Args:
        inputs: What `candidate_inputs` returned; the histories are repeated.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> inputs = candidate_inputs([Request(5, [101, 102]), Request(7, [103])], schema)
    >>> rows = one_candidate_rows(inputs)
    >>> rows["candidate"].tolist(), rows["request_time"].tolist()
    ([101, 102, 103], [5, 5, 7])
    """
    counts = inputs[NUM_CANDIDATES]
    is_real = np.arange(inputs[CANDIDATES].shape[1]) < counts[:, np.newaxis]
    history = {n: v for n, v in inputs.items() if n not in (CANDIDATES, NUM_CANDIDATES)}
    rows = {name: np.repeat(values, counts, axis=0) for name, values in history.items()}
    return {**rows, CANDIDATE: inputs[CANDIDATES][is_real]}


def _padded(columns: Sequence[np.ndarray]) -> np.ndarray:
    # A width of at least 1, also where there is nothing: servers cannot batch less.
    padded = np.zeros((len(columns), max(1, *map(len, columns))), columns[0].dtype)
    if padded.dtype == object:
        padded[:] = ""
    for batch_row, values in zip(padded, columns, strict=True):
        batch_row[: len(values)] = values
    return padded


def _columns(events: Any, group: Group) -> Inputs:
    """A group's behaviors of one user, as one array for each input."""
    where = f"history: {group.name}"
    if isinstance(events, pd.DataFrame):
        events = events.to_dict("records")
    events = _typed(events, Sequence, where, "a list of behaviors")
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


def _check_unit(time: int, times: np.ndarray, schema: Schema) -> None:
    """Checks that a request and its history are of one time unit, as far as can be seen."""
    if not len(times):
        return
    unit = "milliseconds" if schema.time_unit == "ms" else "seconds"
    first, last = int(times.min()), int(times.max())
    if first > time + schema.units_per_day:  # Clocks differ, but not by days.
        raise UserError(
            f"history: all {len(times)} behaviors are after the request's time {time} (the first "
            f"at {first}): expected earlier ones, and both in {unit}"
        )
    if last >= _REAL_SECONDS and time >= 500 * last:
        raise UserError(
            f"history: the last behavior is at {last}, the request at {time}: expected both in "
            f"{unit}"
        )


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
