r"""Scores raw requests with an exported model, to try it out.

A request is a line of JSON, as `export/protocol/request.py` describes it:

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

from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema
from export.protocol.fields import LOGIT, SCORE, signature_name
from export.protocol.request import Request, candidate_inputs, group_by_target

FLAGS = flags.FLAGS


def score_file(saved_model: str | Path, requests: str | Path) -> Iterator[dict[str, list[float]]]:
    """Scores a file of requests, one line after the other.

    Args:
        saved_model: Directory of one exported version.
        requests: File of JSON lines.

    Yields:
        `scores` and `logits`, in the order of the request's candidates.

    Raises:
        UserError: There is no exported model or no such file, or a request is malformed.

    Example:

    >>> path = tmp / "requests.jsonl"
    >>> path.write_text('{"time": 1512950400, "candidates": [101, 102]}')
    46
    >>> (answer,) = score_file(toy_export(), path)
    >>> len(answer["scores"]), len(answer["logits"])
    (2, 2)
    """
    import tensorflow as tf

    if not (Path(saved_model) / "assets.extra").is_dir():
        raise UserError(f"{saved_model}: holds no exported version; expected EXPORT_BASE/VERSION")
    schema = Schema.load(Path(saved_model) / "assets.extra")
    signatures = None  # To load them takes its time: a mistake is reported before.
    for number, request in read_requests(requests):
        try:
            (target,) = group_by_target([request], schema)
            tensors = {n: tf.constant(v) for n, v in candidate_inputs([request], schema).items()}
        except ValueError as error:
            raise UserError(f"{requests}: row {number}: {error}") from error
        if signatures is None:
            signatures = _signatures(saved_model)
        outputs = signatures[signature_name(schema, target, "score_candidates")](**tensors)
        count = len(request.candidates)
        yield {
            "scores": outputs[SCORE][0, :count].numpy().tolist(),
            "logits": outputs[LOGIT][0, :count].numpy().tolist(),
        }


def _signatures(saved_model: str | Path) -> Any:
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(saved_model)).signatures
    except Exception as error:  # Of a damaged one, many kinds.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{saved_model}: cannot be loaded ({reason}); export the run again"
        ) from error


def read_requests(path: str | Path) -> Iterator[tuple[int, Request]]:
    """Reads a file of requests, one line of JSON each.

    Args:
        path: The file.

    Yields:
        The number of the line, from 1, and the request.

    Raises:
        UserError: The file cannot be read, or a line is no request.

    Example:

    >>> path = tmp / "read.jsonl"
    >>> path.write_text('{"time": 5, "candidates": [101]}')
    32
    >>> [(number, request.candidates) for number, request in read_requests(path)]
    [(1, [101])]
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, Request.from_json(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}: row {number}: {error}") from error


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
