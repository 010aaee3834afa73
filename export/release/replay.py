"""Held-out queries of prepared data as raw requests, and what a model answers to them."""

import dataclasses
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema
from export.protocol.fields import (
    CANDIDATES,
    NUM_CANDIDATES,
    REGRESSION,
    REQUEST_TIME,
    SCORE,
    HistoryFields,
)
from export.protocol.request import Inputs

if TYPE_CHECKING:
    from data_pipeline.dataset import TimelineData

# What is sent of each group: models encode the newest of it, and look candidates up in all.
_WHOLE_HISTORY = 100_000

_SCORING_VERBS = ("score", "score_candidates", "score_examples", "score_memory")


@dataclasses.dataclass
class Replay:
    """A batch of a target's held-out queries, as raw requests, and what the model answers.

    Attributes:
        target: The group of the candidates.
        inputs: The inputs of `score_candidates`, with one candidate for each request.
        expected: By verb a number for each request; for "explain" one for each behavior of a
            request, group by group.

    Example:

    >>> replay = Replay("item", {"candidates": np.array([[101]])}, {"score": np.array([0.5])})
    >>> len(replay.inputs["candidates"]) == len(replay.expected["score"])
    True
    """

    target: str
    inputs: Inputs
    expected: dict[str, np.ndarray]


def replays(
    model: Any, data: "TimelineData", max_history: int, max_requests: int
) -> Iterator[Replay]:
    """Makes raw requests of held-out queries and has the model answer them.

    Args:
        model: A `Ranker`.
        data: The prepared data.
        max_history: Newest behaviors of each group that the model reads.
        max_requests: How many queries to replay for each target, at most.

    Yields:
        Batches of requests, each of one target.

    Raises:
        UserError: A target has no held-out query.

    Example:

    >>> data = TimelineData(toy_data())
    >>> replay = next(replays(LastObject(data.schema), data, max_history=3, max_requests=5))
    >>> replay.target, replay.inputs["candidates"].shape, replay.expected["score"].shape
    ('item', (5, 1), (5,))
    """
    options = BatchOptions(num_negatives=1, max_history=_WHOLE_HISTORY)
    num_left = dict.fromkeys(data.schema.target_names, max_requests)
    ids = {group.name: _raw_ids(data, group) for group in data.schema.groups}
    for batch, _ in data.batches("test", options):
        newest = {
            group: {name: column[:, -max_history:] for name, column in columns.items()}
            for group, columns in batch["history"].items()
        }
        user_state = None
        for target, candidates in batch["candidates"].items():
            rows = np.flatnonzero(candidates.row_lengths().numpy())[: num_left[target]]
            if not len(rows):
                continue
            num_left[target] -= len(rows)
            if user_state is None:
                user_state = model.encode(newest, batch["query_time"], batch["user"])
            first = {target: candidates[..., :1]}
            expected = _expected(model, user_state, batch, newest, first, rows)
            yield Replay(target, _raw_inputs(data.schema, ids, batch, first, rows), expected)
    for target, missing in num_left.items():
        if missing == max_requests:
            raise UserError(
                f"{data.directory}: no test target of {target!r} to replay; train without it "
                "(--targets), or split otherwise"
            )


def answers(
    outputs: Mapping[str, np.ndarray], path: str, verb: str, inputs: Inputs, schema: Schema
) -> np.ndarray:
    """Returns what an export answered, as `Replay.expected` has it.

    Args:
        outputs: Outputs of the export, by "PATH/OUTPUT".
        path: Which of them: those of one replay and signature.
        verb: The signature's verb.
        inputs: The inputs of the replay.
        schema: The schema.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> outputs = {"replay0/score_candidates/score": np.array([[0.5], [0.75]])}
    >>> answers(outputs, "replay0/score_candidates", "score_candidates", {}, schema)
    array([0.5 , 0.75])
    """
    if verb != "explain":
        output = REGRESSION if verb == "score_examples" else SCORE
        return outputs[f"{path}/{output}"].reshape(-1)
    fields = [HistoryFields(group) for group in schema.groups]
    return np.concatenate(
        [
            outputs[f"{path}/{f.weights}"][row, : inputs[f.length][row]]
            for row in range(len(inputs[REQUEST_TIME]))
            for f in fields
        ]
    )


def run_in_session(saved_model: Path, requests: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs signatures by `session.py`, as a process that knows nothing of this package.

    Args:
        saved_model: Directory of the exported version.
        requests: Inputs, by "NAME/SIGNATURE/INPUT".

    Returns:
        Outputs, by "NAME/SIGNATURE/OUTPUT".

    Raises:
        UserError: The session loader cannot run it.

    Example:

    >>> unknown = {"unknown/score_examples/inputs": np.array([b""], object)}
    >>> run_in_session(toy_export(), unknown).keys()  # doctest: +SKIP
    dict_keys(['unknown/score_examples/outputs'])
    """
    script = Path(__file__).parent / "session.py"
    with tempfile.TemporaryDirectory() as directory:
        inputs, outputs = Path(directory) / "inputs.npz", Path(directory) / "outputs.npz"
        # Objects are pickled: texts of any length, and bytes that may end with zeros.
        np.savez(inputs, **requests)  # type: ignore[arg-type]
        command = [sys.executable, "-I", str(script), str(saved_model), str(inputs), str(outputs)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = _reason(process.returncode, process.stderr)
            raise UserError(f"{saved_model}: the session loader cannot run it: {reason}")
        return dict(np.load(outputs))


def _reason(status: int, stderr: str) -> str:
    """Why a process failed."""
    last_line = (stderr.strip() or "no message").splitlines()[-1]
    if status == -signal.SIGKILL:
        return "its process was killed; is there memory enough?"
    return f"ended by signal {-status}, after: {last_line}" if status < 0 else last_line


def _expected(
    model: Any,
    user_state: Any,
    batch: dict[str, Any],
    history: dict[str, Any],
    candidates: dict[str, Any],
    rows: np.ndarray,
) -> dict[str, np.ndarray]:
    """What the model answers to a batch's rows, of whose history it encoded the newest."""
    (target,) = candidates
    query_time = batch["query_time"]
    recurrence = {target: batch["recurrence"][target][:, :1]}
    logits = model.score(user_state, candidates, query_time, recurrence)[target].flat_values
    scores = 1 / (1 + np.exp(-logits.numpy()[: len(rows)]))
    expected = dict.fromkeys(_SCORING_VERBS, scores)
    if model.can_explain:
        attention = model.attention(history, candidates, query_time)[target]
        weights = np.mean(attention, axis=0)[:, 0]  # [batch, behaviors]
        sent = [columns["object"].row_lengths().numpy() for columns in batch["history"].values()]
        read = [columns["object"].row_lengths().numpy() for columns in history.values()]
        expected["explain"] = np.concatenate(
            [
                _with_unread(weights[row], [n[row] for n in sent], [n[row] for n in read])
                for row in rows
            ]
        )
    return expected


def _with_unread(weights: np.ndarray, sent: list[int], read: list[int]) -> np.ndarray:
    """The weights of a row's behaviors, group after group, with 0 for older ones than are read."""
    parts = np.split(weights[: sum(read)], np.cumsum(read)[:-1])
    return np.concatenate(
        [np.pad(part, (count - len(part), 0)) for part, count in zip(parts, sent, strict=True)]
    )


def _raw_inputs(
    schema: Schema,
    ids: Mapping[str, np.ndarray],
    batch: dict[str, Any],
    candidates: dict[str, Any],
    rows: np.ndarray,
) -> Inputs:
    ((target, objects),) = candidates.items()
    inputs = {
        CANDIDATES: ids[schema.target(target).group][
            objects.flat_values.numpy()[: len(rows), np.newaxis]
        ],
        NUM_CANDIDATES: np.ones(len(rows), np.int64),
        REQUEST_TIME: batch["query_time"].numpy()[rows],
    }
    for group in schema.groups:
        inputs |= _raw_history(group, batch["history"][group.name], ids[group.name], rows)
    return inputs


def _raw_history(
    group: Group, history: dict[str, Any], ids: np.ndarray, rows: np.ndarray
) -> Inputs:
    def padded(name: str) -> np.ndarray:
        values = history[name].to_tensor().numpy()[rows]
        return np.pad(values, [(0, 0), (0, 1)])

    fields = HistoryFields(group)
    inputs = {
        fields.objects: ids[padded("object")],
        fields.times: padded("time"),
        fields.length: history["object"].row_lengths().numpy()[rows],
    }
    if group.actions:
        actions = np.array(["", *group.actions], object)
        inputs[fields.actions] = actions[padded("action")]
    return inputs


def _raw_ids(data: "TimelineData", group: Group) -> np.ndarray:
    """Raw ids by object index; what stands for unknown objects is an id that nothing has."""
    path = data.directory / "objects" / f"{group.name}.parquet"
    known = pq.read_table(path, columns=["object"])["object"].to_numpy()
    if group.id_type == "int":
        return np.concatenate([np.full(group.num_oov, -1, np.int64), known])
    return np.array(["\0unknown"] * group.num_oov + list(known), object)
