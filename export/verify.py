r"""Checks an export: replays held-out users through it as TensorFlow Serving would.

A fresh process that knows nothing of this package loads the SavedModel through the session
loader and scores raw requests by each of its signatures; the scores must be those of the
Keras model.

Example:
    python -m export.verify --model_dir=runs/mine --saved_model=runs/mine/serving/atrank/1
"""

import dataclasses
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError

if TYPE_CHECKING:
    from data_pipeline.dataset import TimelineData
    from data_pipeline.schema import Group

FLAGS = flags.FLAGS

TOLERANCE = 1e-5
_SCORING = ("score", "score_candidates", "score_examples", "score_memory")


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        requests: How many requests were replayed, by every signature.
        difference: Largest difference between a score, or a weight of an explanation, of the
            export and of the model.
        warmups: How many requests its warm-up file holds.
        variable_bytes: Size of the export's variables on disk.
        weight_bytes: Size of the model's weights in memory.
    """

    requests: int
    difference: float
    warmups: int
    variable_bytes: int
    weight_bytes: int

    def __str__(self) -> str:
        """One line of all that was found."""
        return (
            f"{self.requests} requests replayed by every signature through the session loader, "
            f"largest difference {self.difference:.1e}; {self.warmups} warm-up requests; variables "
            f"{self.variable_bytes / 1e6:.1f} MB for weights of {self.weight_bytes / 1e6:.1f} MB"
        )


def verify(
    model_dir: str | Path,
    saved_model: str | Path,
    max_requests: int = 256,
    data_dir: str | Path = "",
) -> Verification:
    """Compares an exported model with the Keras model that it was made from.

    Args:
        model_dir: Run directory of the model.
        saved_model: Directory of the exported version.
        max_requests: How many held-out moments to replay for each target, at most.
        data_dir: Prepared data; "" for that which the run was trained on.

    Returns:
        What was found.

    Raises:
        UserError: The session loader cannot run the export, its scores differ by more
            than 1e-5, a warm-up request fails, or it stores its weights more than once.
    """
    from atrank_tf.run_directory import RunDirectory
    from export.protocol.fields import signature_name
    from export.protocol.tensors import inputs_by_signature
    from export.release import warmup

    run = RunDirectory(model_dir)
    data = run.data(data_dir)
    model = run.load_best(data.manifest.fingerprint)
    replays = list(_replays(model, data, run.settings()["max_history"], max_requests))
    requests: dict[str, np.ndarray] = {}
    for number, replay in enumerate(replays):
        for verb, inputs in inputs_by_signature(replay.inputs, data.schema).items():
            if verb in replay.expected or verb == "encode":
                signature = signature_name(data.schema, replay.target, verb)
                requests |= {f"replay{number}/{signature}/{key}": v for key, v in inputs.items()}
    warmup_file = Path(saved_model) / "assets.extra" / warmup.FILE_NAME
    if not warmup_file.exists():
        raise UserError(f"{warmup_file}: no such file; expected a version that was exported here")
    warmups = warmup.read(warmup_file)
    for number, (signature, inputs) in enumerate(warmups):
        requests |= {f"warmup{number}/{signature}/{key}": v for key, v in inputs.items()}
    found = _run_in_session(Path(saved_model), requests)

    differences = [0.0]
    for number, replay in enumerate(replays):
        for verb, expected in replay.expected.items():
            path = f"replay{number}/{signature_name(data.schema, replay.target, verb)}"
            values = _answer(found, path, verb, replay.inputs)
            differences.append(np.abs(values - expected).max(initial=0.0))
    for path, values in found.items():
        if path.startswith("warmup") and not np.isfinite(values.astype(np.float64)).all():
            raise UserError(f"{saved_model}: {path}: an output is not finite")
    result = Verification(
        requests=sum(len(replay.inputs["request_time"]) for replay in replays),
        difference=float(np.max(differences)),  # NaN where a score is.
        warmups=len(warmups),
        variable_bytes=sum(p.stat().st_size for p in Path(saved_model).glob("variables/*.data*")),
        weight_bytes=sum(w.numpy().nbytes for w in model.weights),
    )
    if not result.difference <= TOLERANCE:
        raise UserError(
            f"{saved_model}: scores differ from the model's by up to {result.difference:.2g}, "
            f"expected at most {TOLERANCE:.0e} (if the run was trained further, export it again)"
        )
    if result.variable_bytes > 1.1 * result.weight_bytes + 65_536:
        raise UserError(
            f"{saved_model}: variables take {result.variable_bytes:,} bytes for weights of "
            f"{result.weight_bytes:,}"
        )
    return result


@dataclasses.dataclass
class _Replay:
    """A batch of a target's held-out moments, as raw requests, and what the model says of them.

    `expected` has, by verb, a number for each request; for "explain" one for each behavior
    of a request, group by group.
    """

    target: str
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


def _replays(
    model: Any, data: "TimelineData", max_history: int, max_requests: int
) -> Iterator[_Replay]:
    from data_pipeline.batches.options import BatchOptions

    options = BatchOptions(num_negatives=1, max_history=max_history)
    left = dict.fromkeys(data.schema.targets, max_requests)
    ids = {group.name: _raw_ids(data, group) for group in data.schema.groups}
    for inputs, _ in data.batches("test", options):
        history, query_time = inputs["history"], inputs["query_time"]
        state = None
        for target, candidates in inputs["candidates"].items():
            rows = np.flatnonzero(candidates.row_lengths().numpy())[: left[target]]
            if not len(rows):
                continue
            left[target] -= len(rows)
            if state is None:
                state = model.encode(history, query_time, inputs["user"])
            first = candidates[..., :1]
            logits = model.score(state, {target: first}, query_time)[target].flat_values
            scores = 1 / (1 + np.exp(-logits.numpy()[: len(rows)]))
            expected = dict.fromkeys(_SCORING, scores)
            if model.can_explain:
                attention = model.attention(history, {target: first}, query_time)[target]
                weights = np.mean(attention, axis=0)[:, 0]  # [batch, behaviors]
                lengths = sum(h["object"].row_lengths().numpy() for h in history.values())
                of_rows = [weights[row, : lengths[row]] for row in rows]
                expected["explain"] = np.concatenate(of_rows)
            raw = {
                "candidates": ids[target][first.flat_values.numpy()[: len(rows), np.newaxis]],
                "num_candidates": np.ones(len(rows), np.int64),
                "request_time": query_time.numpy()[rows],
            }
            for group in data.schema.groups:
                raw |= _raw_history(group, history[group.name], ids[group.name], rows)
            yield _Replay(target, raw, expected)
    for target, missing in left.items():
        if missing == max_requests:
            raise UserError(f"{data.directory}: no test target of group {target!r} to replay")


def _answer(
    found: dict[str, np.ndarray], path: str, verb: str, inputs: dict[str, np.ndarray]
) -> np.ndarray:
    """What an export answered, as `_Replay.expected` has it."""
    if verb != "explain":
        output = "outputs" if verb == "score_examples" else "score"
        return found[f"{path}/{output}"].reshape(-1)
    groups = [name.removesuffix("_length") for name in inputs if name.endswith("_length")]
    return np.concatenate(
        [
            found[f"{path}/{group}_weights"][row, : inputs[f"{group}_length"][row]]
            for row in range(len(inputs["request_time"]))
            for group in groups
        ]
    )


def _raw_history(
    group: "Group", history: dict[str, Any], ids: np.ndarray, rows: np.ndarray
) -> dict[str, np.ndarray]:
    def padded(name: str) -> np.ndarray:
        values = history[name].to_tensor().numpy()[rows]
        return np.pad(values, [(0, 0), (0, 1)])

    request = {
        f"{group.name}_objects": ids[padded("object")],
        f"{group.name}_times": padded("time"),
        f"{group.name}_length": history["object"].row_lengths().numpy()[rows],
    }
    if group.actions:
        actions = np.array(["", *group.actions], object)
        request[f"{group.name}_actions"] = actions[padded("action")]
    return request


def _raw_ids(data: "TimelineData", group: "Group") -> np.ndarray:
    """Raw ids by object index; what stands for unknown objects is an id that nothing has."""
    import pyarrow.parquet as pq

    path = data.directory / "objects" / f"{group.name}.parquet"
    known = pq.read_table(path, columns=["object"])["object"].to_numpy()
    if group.id_type == "int":
        return np.concatenate([np.full(group.num_oov, -1, np.int64), known])
    return np.array(["\0unknown"] * group.num_oov + list(known), object)


def _run_in_session(saved_model: Path, requests: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    script = Path(__file__).parent / "release" / "session.py"
    with tempfile.TemporaryDirectory() as directory:
        inputs, outputs = Path(directory) / "inputs.npz", Path(directory) / "outputs.npz"
        np.savez(inputs, **requests)  # type: ignore[arg-type]
        # Objects are pickled: texts of any length, and bytes that may end with zeros.
        command = [sys.executable, "-I", str(script), str(saved_model), str(inputs), str(outputs)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip() or "no message").splitlines()[-1]
            if process.returncode < 0:
                reason = f"ended by signal {-process.returncode}, after: {reason}"
            if process.returncode == -signal.SIGKILL:
                reason = "its process was killed; is there memory enough?"
            raise UserError(f"{saved_model}: the session loader cannot run it: {reason}")
        return dict(np.load(outputs))


def _main() -> None:
    found = verify(FLAGS.model_dir, FLAGS.saved_model, data_dir=FLAGS.data_dir)
    print(f"verified {FLAGS.saved_model}: {found}")
    print(f"next: python -m export.score --saved_model={FLAGS.saved_model} --requests=FILE.jsonl")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_string("saved_model", None, "Directory of the exported version.", required=True)
    flags.DEFINE_string("data_dir", "", "Prepared data; that of the training by default.")
    cli.run(_main)


if __name__ == "__main__":
    main()
