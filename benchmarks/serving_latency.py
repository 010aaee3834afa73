r"""Measures how fast an exported model answers: by the session loader, and over sockets.

ATRank and the Bi-LSTM are trained for a second, which their speed does not depend on, exported
with histories of up to 1,000 behaviors, and run by each signature. Objects are drawn from
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
from data_pipeline import ragged
from data_pipeline.core import cli
from data_pipeline.schema import Schema
from export.client import Client
from export.export_model import export_model
from export.protocol.fields import REQUEST_TIME, HistoryFields, signature_name
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
    group, target = schema.groups[0], schema.target_names[0]
    action = {"action": group.actions[0]} if group.actions else {}
    hour = schema.units_per_day // 24
    requests = []
    for _ in range(rows):
        events = [
            {"object": o, "time": number * hour, **action}
            for number, o in enumerate(random.choice(objects, history).tolist(), start=1)
        ]
        ids = random.choice(objects, candidates).tolist()
        requests.append(Request((history + 2) * hour, ids, {group.name: events}, target))
    return requests


def timed(ask: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Returns milliseconds of one run, of as many as fit, by quantile."""
    for _ in range(2):
        ask()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        ask()
        times.append(1e3 * (time.perf_counter() - start))
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    return {"p50": p50, "p95": p95, "p99": p99, "runs": len(times), "mean": float(np.mean(times))}


def _signatures(
    servable: Servable, schema: Schema, objects: np.ndarray, seconds: float
) -> Iterator[dict[str, Any]]:
    """What each signature takes, for each history, number of candidates and batch."""
    target = schema.target_names[0]
    for history, rows in itertools.product(HISTORIES, BATCHES):
        for candidates in CANDIDATES:
            if rows * history * max(candidates, history) > _MAX_PAIRS:
                continue
            requests = made_up_requests(schema, objects, rows, history, candidates)
            by_verb = inputs_by_signature(candidate_inputs(requests, schema), schema)
            by_verb["score_memory"] |= servable.run("encode", by_verb["encode"])
            for verb, inputs in by_verb.items():
                if candidates > 1 and verb not in ("score_candidates", "score_memory"):
                    continue  # They take one candidate a row.
                name = signature_name(schema, target, verb)
                if name not in servable.signatures:
                    continue
                times = timed(functools.partial(servable.run, name, inputs), seconds)
                shape = {"history": history, "candidates": candidates, "batch": rows}
                per_second = 1e3 * rows * candidates / times["mean"]
                yield {"signature": name, **shape, **times, "candidates_per_second": per_second}


def _many_against_rows(
    servable: Servable, model: Any, schema: Schema, objects: np.ndarray, seconds: float
) -> dict[str, float]:
    """500 candidates of one user: all in one row, one a row, and what they need at the least."""
    history, candidates = 100, 500
    inputs = candidate_inputs(made_up_requests(schema, objects, 1, history, candidates), schema)
    by_verb = inputs_by_signature(inputs, schema)
    times = {}
    for verb in ("score_candidates", "score", "encode"):
        name = signature_name(schema, schema.target_names[0], verb)
        times[verb] = timed(functools.partial(servable.run, name, by_verb[verb]), seconds)["p50"]
    behavior_times = ragged.from_tensor(inputs[HistoryFields(schema.groups[0]).times])

    def flops(count: int) -> float:
        batch = {
            "history": {schema.groups[0].name: {"time": behavior_times}},
            "candidates": {schema.target_names[0]: tf.ragged.range([count])},
            "query_time": inputs[REQUEST_TIME],
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
    target = schema.target_names[0]
    results = []
    try:
        for history, candidates in itertools.product((20, 100), (1, 100, 1000)):
            inputs = candidate_inputs(
                made_up_requests(schema, objects, 1, history, candidates), schema
            )
            name = signature_name(schema, target, "score_candidates")
            in_session = timed(functools.partial(servable.run, name, inputs), seconds)
            result = {"history": history, "candidates": candidates, "session": in_session["p50"]}
            for protocol, address in (("grpc", server.grpc), ("rest", server.rest)):
                with Client(schema, address, protocol=protocol, timeout=60.0) as client:  # type: ignore[arg-type]
                    over_socket = timed(functools.partial(client.predict, name, inputs), seconds)
                result[protocol] = over_socket["p50"]
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
            version, verification = export_model(run_dir, base)
            print(f"{name}: {verification}", flush=True)
            schema = Schema.load(version / "assets.extra")
            known = pq.read_table(run_dir / "objects" / f"{schema.target_names[0]}.parquet")
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
    flags.DEFINE_string("output", "", "JSON file to write.")
    flags.DEFINE_float("seconds", 1.0, "For each figure.")
    cli.run(_main)


if __name__ == "__main__":
    main()
