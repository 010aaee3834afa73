r"""Measures how fast an exported model answers: by the session loader, and over sockets.

ATRank and the Bi-LSTM are trained for a moment, which their speed does not hang on, exported
with histories of up to 1,000 behaviors, and asked by each signature. Objects are drawn from
the known ones, uniformly. Each figure is of as many runs as fit in `--seconds`, after two.

Example:
    python -m benchmarks.serving_latency --data_dir=runs/ml-100k/data
"""

import functools
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
from absl import flags

from atrank_tf.run_directory import RunDirectory
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from benchmarks import report
from benchmarks.flops import matmul_peak, step_flops
from benchmarks.serving_soak import Server
from data_pipeline.core import cli
from data_pipeline.schema import Schema
from export.client import Client
from export.export_model import export_model
from export.protocol.fields import signature_name
from export.protocol.request import Request, candidate_inputs
from export.protocol.tensors import inputs_by_signature
from export.serve.servable import Servable

FLAGS = flags.FLAGS

HISTORIES = (20, 100, 1000)
CANDIDATES = (1, 100, 1000)
BATCHES = (1, 16, 128)
MODELS = ("atrank", "bilstm")

# Of behaviors and what attends to them: beyond it a batch takes a gigabyte or more.
_MAX_PAIRS = 4_000_000


def made_up_requests(
    schema: Schema, objects: np.ndarray, rows: int, history: int, candidates: int
) -> list[Request]:
    """Returns requests of full histories of the first group, one a row.

    Args:
        schema: Of the exported model.
        objects: Raw ids to draw from.
        rows: How many requests.
        history: Behaviors of each.
        candidates: Candidates of each.
    """
    random = np.random.default_rng(history + candidates)
    group, target = schema.groups[0], schema.targets[0]
    action = {"action": group.actions[0]} if group.actions else {}
    hour = schema.units_per_day // 24
    found = []
    for _ in range(rows):
        events = [
            {"object": o, "time": (place + 1) * hour, **action}
            for place, o in enumerate(random.choice(objects, history).tolist())
        ]
        asked = random.choice(objects, candidates).tolist()
        found.append(Request((history + 2) * hour, asked, {group.name: events}, target))
    return found


def timed(ask: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Returns milliseconds of one run, of as many as fit, by quantile."""
    for _ in range(2):
        ask()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        ask()
        taken.append(1e3 * (time.perf_counter() - start))
    p50, p95, p99 = np.percentile(taken, (50, 95, 99))
    return {"p50": p50, "p95": p95, "p99": p99, "runs": len(taken), "mean": float(np.mean(taken))}


def _signatures(
    servable: Servable, schema: Schema, objects: np.ndarray, seconds: float
) -> Iterator[dict[str, Any]]:
    """What each signature takes, for each history, number of candidates and batch."""
    target = schema.targets[0]
    for history, rows in itertools.product(HISTORIES, BATCHES):
        for candidates in CANDIDATES:
            if rows * history * max(candidates, history) > _MAX_PAIRS:
                continue
            asked = made_up_requests(schema, objects, rows, history, candidates)
            ways = inputs_by_signature(candidate_inputs(asked, schema), schema)
            ways["score_memory"] |= servable.run("encode", ways["encode"])
            for verb, inputs in ways.items():
                if candidates > 1 and verb not in ("score_candidates", "score_memory"):
                    continue  # They take one candidate a row.
                name = signature_name(schema, target, verb)
                if name not in servable.signatures:
                    continue
                found = timed(functools.partial(servable.run, name, inputs), seconds)
                shape = {"history": history, "candidates": candidates, "batch": rows}
                per_second = 1e3 * rows * candidates / found["mean"]
                yield {"signature": name, **shape, **found, "candidates_per_second": per_second}


def _many_against_rows(
    servable: Servable, model: Any, schema: Schema, objects: np.ndarray, seconds: float
) -> dict[str, float]:
    """500 candidates of one user: once for all, one a row, and what they need at the least."""
    history, candidates = 100, 500
    inputs = candidate_inputs(made_up_requests(schema, objects, 1, history, candidates), schema)
    ways = inputs_by_signature(inputs, schema)
    times = {}
    for verb in ("score_candidates", "score", "encode"):
        name = signature_name(schema, schema.targets[0], verb)
        found = timed(functools.partial(servable.run, name, ways[verb]), seconds)
        times[verb] = found["p50"]
    spans = tf.RaggedTensor.from_tensor(inputs[f"{schema.groups[0].name}_times"])

    def flops(count: int) -> float:
        batch = {
            "history": {schema.groups[0].name: {"time": spans}},
            "candidates": {schema.targets[0]: tf.ragged.range([count])},
            "query_time": inputs["request_time"],
        }
        return step_flops(model, batch) / 3  # Forward alone.

    peak = max(matmul_peak(size) for size in (1024, 2048))
    product = 1e3 * (flops(candidates) - flops(0)) / peak
    return {**times, "matmul_peak_flops": peak, "products_at_peak": product}


def _over_sockets(
    base: Path, schema: Schema, objects: np.ndarray, seconds: float
) -> list[dict[str, Any]]:
    """The same requests of the session, and of the endpoint by each protocol."""
    servable = Servable(base / "1")
    server = Server(base)
    target = schema.targets[0]
    results = []
    try:
        for history, candidates in itertools.product((20, 100), (1, 100, 1000)):
            inputs = candidate_inputs(
                made_up_requests(schema, objects, 1, history, candidates), schema
            )
            name = signature_name(schema, target, "score_candidates")
            bare = timed(functools.partial(servable.run, name, inputs), seconds)
            result = {"history": history, "candidates": candidates, "session": bare["p50"]}
            for protocol, address in (("grpc", server.grpc), ("rest", server.rest)):
                with Client(schema, address, protocol=protocol, timeout=60.0) as client:
                    found = timed(functools.partial(client.predict, name, inputs), seconds)
                result[protocol] = found["p50"]
            results.append(result)
    finally:
        server.stop()
    return results


def _main() -> None:
    results: dict[str, Any] = {"signatures": []}
    with tempfile.TemporaryDirectory() as directory:
        for name in MODELS:
            run_dir, base = Path(directory) / name, Path(directory) / "serving" / name / "atrank"
            settings = Settings(model=name, max_history=max(HISTORIES), max_seconds=1.0, epochs=1)
            train(FLAGS.data_dir, str(run_dir), settings)
            version, found = export_model(run_dir, base)
            print(f"{name}: {found}", flush=True)
            schema = Schema.load(version / "assets.extra")
            known = pq.read_table(run_dir / "objects" / f"{schema.targets[0]}.parquet")
            objects = known["object"].to_numpy()
            servable = Servable(version, optimize=True)
            for result in _signatures(servable, schema, objects, FLAGS.seconds):
                results["signatures"].append({"model": name, **result})
            if name == "atrank":
                model = RunDirectory(run_dir).load_best()
                results["many"] = _many_against_rows(
                    servable, model, schema, objects, FLAGS.seconds
                )
                results["endpoint"] = _over_sockets(base, schema, objects, FLAGS.seconds)
            servable.close()
    print(report.text({"serving": results}))
    if FLAGS.output:
        Path(FLAGS.output).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {FLAGS.output}")


def main() -> None:
    """Command line."""
    flags.DEFINE_string("data_dir", "runs/ml-100k/data", "Prepared data with one group.")
    flags.DEFINE_string("output", "", "File to write what was found into, as JSON.")
    flags.DEFINE_float("seconds", 1.0, "For each figure.")
    cli.run(_main)


if __name__ == "__main__":
    main()
