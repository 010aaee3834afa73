r"""Checks an export: replays held-out users through it as TensorFlow Serving would.

A fresh process that knows nothing of this package loads the SavedModel through the session
loader and scores raw requests by each of its signatures; the scores must be those of the
Keras model.

Example:
    python -m export.verify --model_dir=runs/mine --saved_model=runs/mine/serving/atrank/1
"""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from atrank_tf import cli
from atrank_tf.errors import UserError

if TYPE_CHECKING:
    from atrank_tf.schema import Group, Schema
    from data_pipeline.dataset import TimelineData

FLAGS = flags.FLAGS

TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        requests: How many requests were replayed.
        difference: Largest difference between a score of the export and of the model.
        variable_bytes: Size of the export's variables on disk.
        weight_bytes: Size of the model's weights in memory.
    """

    requests: int
    difference: float
    variable_bytes: int
    weight_bytes: int


def verify(model_dir: str | Path, saved_model: str | Path, max_requests: int = 256) -> Verification:
    """Compares an exported model with the Keras model that it was made from.

    Args:
        model_dir: Run directory of the model.
        saved_model: Directory of the exported version.
        max_requests: How many held-out moments to replay for each target, at most.

    Returns:
        What was found.

    Raises:
        UserError: The session loader cannot run the export, its scores differ by more
            than 1e-5, or it stores its weights more than once.
    """
    from atrank_tf.run_directory import RunDirectory

    run = RunDirectory(model_dir)
    data = run.data()
    model = run.load_best(data.manifest.fingerprint)
    requests: dict[str, np.ndarray] = {}
    expected = {}
    for target, (raw, scores) in _replay(
        model, data, run.settings()["max_history"], max_requests
    ).items():
        expected[target] = scores
        for signature, inputs in _all_ways(raw, data.schema, target).items():
            requests |= {f"{target}/{signature}/{key}": v for key, v in inputs.items()}
    found = _run_in_session(Path(saved_model), requests)
    differences = []
    for path, values in found.items():
        target, _, output = path.split("/")
        if output in ("score", "outputs"):
            differences.append(np.abs(values.reshape(-1) - expected[target]))
    difference = np.concatenate(differences).max()  # NaN where a score is.
    result = Verification(
        requests=sum(map(len, expected.values())),
        difference=float(difference),
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


def _replay(
    model: Any, data: "TimelineData", max_history: int, max_requests: int
) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
    """By target: raw requests made from held-out moments, and the model's scores for them."""
    raw: dict[str, list[dict[str, np.ndarray]]] = {target: [] for target in data.schema.targets}
    scores: dict[str, list[np.ndarray]] = {target: [] for target in data.schema.targets}
    ids = {group.name: _raw_ids(data, group) for group in data.schema.groups}
    for inputs, _ in data.batches("test", num_negatives=1, max_history=max_history):
        memory = None
        for target, candidates in inputs["candidates"].items():
            left = max_requests - sum(map(len, scores[target]))
            rows = np.flatnonzero(candidates.row_lengths().numpy())[:left]
            if not len(rows):
                continue
            if memory is None:
                memory = model.encode(inputs["history"], inputs["now"], inputs["user"])
            first = candidates[..., :1]
            logits = model.score(memory, {target: first}, inputs["now"])[target].flat_values
            scores[target].append(1 / (1 + np.exp(-logits.numpy()[: len(rows)])))
            request = {
                "candidate": ids[target][first.flat_values.numpy()[: len(rows)]],
                "request_time": inputs["now"].numpy()[rows],
            }
            for group in data.schema.groups:
                history = inputs["history"][group.name]
                request |= _raw_history(group, history, ids[group.name], rows)
            raw[target].append(request)
    for target, requests in raw.items():
        if not requests:
            raise UserError(f"{data.directory}: no test target of group {target!r} to replay")
    return {target: (_stack(raw[target]), np.concatenate(scores[target])) for target in raw}


def _all_ways(
    raw: dict[str, np.ndarray], schema: "Schema", target: str
) -> dict[str, dict[str, np.ndarray]]:
    """The point-wise request as each signature that scores takes it."""
    from export.signature import signature_name

    history = {name: value for name, value in raw.items() if name != "candidate"}
    many = {
        "candidates": raw["candidate"][:, np.newaxis],
        "num_candidates": np.ones(len(raw["candidate"]), np.int64),
    }
    verbs = {
        "score": raw,
        "score_candidates": {**history, **many},
        "score_examples": {"inputs": _examples(raw)},
        "encode": history,
        "score_memory": {**many, "request_time": raw["request_time"]},
    }
    return {
        verb if verb == "encode" else signature_name(schema, target, verb): inputs
        for verb, inputs in verbs.items()
    }


def _examples(raw: dict[str, np.ndarray]) -> np.ndarray:
    """Each row of a point-wise request as a serialised `tf.Example`."""
    import tensorflow as tf

    def feature(values: np.ndarray) -> tf.train.Feature:
        if values.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        texts = [str(value).encode() for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))

    examples = []
    for row in range(len(raw["candidate"])):
        features = {}
        for name, values in raw.items():
            group = name.rpartition("_")[0]
            length = raw[f"{group}_length"][row] if values.ndim == 2 else None
            if not name.endswith("_length"):
                features[name] = feature(np.atleast_1d(values[row])[:length])
        proto = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(proto.SerializeToString())
    return np.array(examples, object)


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
    """Raw ids by object row; what stands for unknown objects is an id that nothing has."""
    import pyarrow.parquet as pq

    path = data.directory / "objects" / f"{group.name}.parquet"
    known = pq.read_table(path, columns=["object"])["object"].to_numpy()
    if group.id_type == "int":
        return np.concatenate([np.full(group.num_oov, -1, np.int64), known])
    return np.array(["\0unknown"] * group.num_oov + list(known), object)


def _stack(requests: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins batches of requests, padding them to one width."""
    joined = {}
    for name in requests[0]:
        parts = [request[name] for request in requests]
        if parts[0].ndim == 2:
            width = max(part.shape[1] for part in parts)
            parts = [
                np.concatenate([p, np.repeat(p[:, :1], width - p.shape[1], axis=1)], axis=1)
                for p in parts
            ]
        joined[name] = np.concatenate(parts)
    return joined


def _run_in_session(saved_model: Path, requests: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    script = Path(__file__).with_name("session.py")
    with tempfile.TemporaryDirectory() as directory:
        inputs, outputs = Path(directory) / "inputs.npz", Path(directory) / "outputs.npz"
        np.savez(inputs, **requests)  # type: ignore[arg-type]
        # Objects are pickled: texts of any length, and bytes that may end with zeros.
        command = [sys.executable, "-I", str(script), str(saved_model), str(inputs), str(outputs)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip() or "no message").splitlines()[-1]
            raise UserError(f"{saved_model}: the session loader cannot run it: {reason}")
        return dict(np.load(outputs))


def _main() -> None:
    result = verify(FLAGS.model_dir, FLAGS.saved_model)
    print(
        f"verified {FLAGS.saved_model}: {result.requests} requests replayed through the session "
        f"loader, largest difference {result.difference:.1e}, variables "
        f"{result.variable_bytes / 1e6:.1f} MB for weights of {result.weight_bytes / 1e6:.1f} MB"
    )
    print(f"next: python -m export.score --saved_model={FLAGS.saved_model} --requests=FILE.jsonl")


def main() -> None:
    """Console script."""
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_string("saved_model", None, "Directory of the exported version.", required=True)
    cli.run(_main)


if __name__ == "__main__":
    main()
