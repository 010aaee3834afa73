r"""Scores raw requests with an exported model, to try it out.

A request is a line of JSON. Histories may come in any order; groups may be left out:

    {"time": 1512950400,
     "history": {"product": [{"object": 1095275, "action": "purchase", "time": 1512000000}]},
     "candidates": [1041453, 820165]}

The answer is a line, too: {"scores": [0.71, 0.33], "logits": [0.91, -0.70]}. A model with
several targets takes "target": "NAME" as well; it is the first one by default.

Example:
    python -m export.score --saved_model=runs/mine/serving/atrank/1 --requests=requests.jsonl
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import cli
from atrank_tf.errors import UserError
from atrank_tf.schema import Group, Schema

FLAGS = flags.FLAGS

_REQUEST_KEYS = {"time", "history", "candidates", "target"}
_EVENT_KEYS = {"object", "action", "time"}


def build_inputs(request: dict[str, Any], schema: Schema) -> tuple[str, dict[str, np.ndarray]]:
    """Turns one request into the inputs of the point-wise signature.

    Args:
        request: A parsed line, as the module's documentation shows.
        schema: The schema that the export holds.

    Returns:
        The target group's name, and the inputs: one row for each candidate.

    Raises:
        UserError: A key is missing, unknown, or of another type than was expected.
    """
    _check_keys(request, _REQUEST_KEYS, required=("time", "candidates"))
    target = request.get("target", schema.targets[0])
    if target not in schema.targets:
        raise UserError(f"target {target!r}: expected one of {', '.join(schema.targets)}")
    history = _typed(request.get("history", {}), dict, "history", "an object, group by group")
    names = [group.name for group in schema.groups]
    for name in history:
        if name not in names:
            raise UserError(f"history: group {name!r}: expected one of {', '.join(names)}")
    ids = _ids(request["candidates"], schema.group(target), "candidates")
    inputs = {
        "candidate": ids,
        "request_time": np.full(len(ids), _time(request["time"], "time"), np.int64),
    }
    for group in schema.groups:
        for name, row in _group_inputs(history.get(group.name, []), group).items():
            inputs[f"{group.name}_{name}"] = np.repeat(row[np.newaxis], len(ids), axis=0)
    return target, inputs


def score_file(saved_model: str | Path, requests: str | Path) -> Iterator[dict[str, list[float]]]:
    """Scores a file of requests, one line after the other.

    Args:
        saved_model: Directory of one exported version.
        requests: File of JSON lines.

    Yields:
        `scores` and `logits`, in the order of the request's candidates.

    Raises:
        UserError: There is no exported model or no such file, or a request is malformed.
    """
    import tensorflow as tf

    from export.signature import signature_name

    if not (Path(saved_model) / "assets.extra").is_dir():
        raise UserError(f"{saved_model}: holds no exported version; expected EXPORT_BASE/VERSION")
    schema = Schema.load(Path(saved_model) / "assets.extra")
    try:
        lines = Path(requests).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{requests}: cannot be read ({error})") from error
    signatures = tf.saved_model.load(str(saved_model)).signatures
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            target, inputs = build_inputs(json.loads(line), schema)
            tensors = {name: tf.constant(value) for name, value in inputs.items()}
        except (ValueError, RecursionError) as error:
            raise UserError(f"{requests}: row {number}: {error}") from error
        if not len(inputs["candidate"]):
            yield {"scores": [], "logits": []}
            continue
        result = signatures[signature_name(schema, target)](**tensors)
        yield {
            "scores": result["score"].numpy().tolist(),
            "logits": result["logit"].numpy().tolist(),
        }


def _group_inputs(events: Any, group: Group) -> dict[str, np.ndarray]:
    where = f"history: {group.name}"
    events = _typed(events, list, where, "a list of behaviours")
    for event in events:
        _check_keys(event, _EVENT_KEYS, required=("object", "time"), where=where)
    # A width of at least 1, also where there is no behaviour: servers cannot batch less.
    width = max(1, len(events))
    objects = np.zeros(width, np.int64) if group.id_type == "int" else np.full(width, "", object)
    times = np.zeros(width, np.int64)
    objects[: len(events)] = _ids([event["object"] for event in events], group, where)
    times[: len(events)] = [_time(event["time"], where) for event in events]
    inputs = {"objects": objects, "times": times, "length": np.array(len(events))}
    if group.actions:
        actions = np.full(width, "", object)
        actions[: len(events)] = [
            _typed(event.get("action", ""), str, where, "the action as a string")
            for event in events
        ]
        inputs["actions"] = actions
    return inputs


def _ids(values: Any, group: Group, where: str) -> np.ndarray:
    values = _typed(values, list, where, "a list of object ids")
    expected = int if group.id_type == "int" else str
    for value in values:
        if not isinstance(value, expected) or isinstance(value, bool):
            kind = "an integer" if expected is int else "a string"
            raise UserError(f"{where}: object {value!r}: expected {kind}")
    try:
        return np.array(values, np.int64 if expected is int else object)
    except OverflowError:
        raise UserError(f"{where}: object id beyond 64 bits: {max(values, key=abs)}") from None


def _time(value: Any, where: str) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise UserError(f"{where}: time {value!r}: expected a number of 0 or more")
    return int(value)


def _typed(value: Any, kind: type, where: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise UserError(f"{where}: {value!r}: expected {expected}")
    return value


def _check_keys(
    value: Any, known: set[str], required: tuple[str, ...], where: str = "request"
) -> None:
    _typed(value, dict, where, "a JSON object")
    for key in required:
        if key not in value:
            raise UserError(f"{where}: {key!r} is missing")
    for key in value:
        if key not in known:
            raise UserError(f"{where}: key {key!r}: expected one of {', '.join(sorted(known))}")


def _main() -> None:
    for count, answer in enumerate(score_file(FLAGS.saved_model, FLAGS.requests), start=1):
        print(json.dumps(answer), flush=True)
        if count % 1000 == 0:
            print(f"{count:,} requests", file=sys.stderr)


def main() -> None:
    """Console script."""
    flags.DEFINE_string("saved_model", None, "Directory of one exported version.", required=True)
    flags.DEFINE_string("requests", None, "File of requests, a line of JSON each.", required=True)
    cli.run(_main)


if __name__ == "__main__":
    main()
