r"""Measures what it would gain an export to hold its weights as constants of its graph.

The model of a run is exported as it is, and with its variables replaced by constants, which
TensorFlow may fold and pack when it loads the graph. Both are asked in turn, through the
session loader.

Example:
    python -m benchmarks.constant_weights --model_dir=runs/ml-100k
"""

import functools
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
from absl import flags

from atrank_tf import cli
from atrank_tf.models import Ranker
from atrank_tf.schema import Schema
from benchmarks.serving_latency import made_up_requests, timed
from export.export_model import export_model
from export.raw_inputs import RawInputs
from export.requests import by_verb, many
from export.scorer import Scorer
from export.server.servable import Servable
from export.signature import signature_name

FLAGS = flags.FLAGS

HISTORIES = (20, 100)
CANDIDATES = (1, 100)
BATCHES = (1, 16)
_TURNS = 5


class ConstantScorer(Scorer):
    """A scorer whose functions hold the model's weights as constants."""

    def __init__(self, model: Ranker, raw: RawInputs) -> None:
        self._values = [(weight, weight.numpy()) for weight in model.variables]
        super().__init__(model, raw)

    def _constants(self) -> keras.StatelessScope:
        return keras.StatelessScope([(w, tf.constant(value)) for w, value in self._values])

    def _encoded(self, *args: Any, **kwargs: Any) -> Any:
        with self._constants():
            return super()._encoded(*args, **kwargs)

    def _scored(self, *args: Any, **kwargs: Any) -> Any:
        with self._constants():
            return super()._scored(*args, **kwargs)

    def _attended(self, *args: Any, **kwargs: Any) -> Any:
        with self._constants():
            return super()._attended(*args, **kwargs)


def measure(model_dir: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yields the bytes of both exports, then their medians for each kind of request."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory) / "atrank"
        versions = {"variables": export_model(model_dir, base)[0]}
        with mock.patch("export.scorer.Scorer", ConstantScorer):
            versions["constants"] = export_model(model_dir, base)[0]
        yield {
            name: sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
            for name, version in versions.items()
        }
        servables = {name: Servable(path, optimize=True) for name, path in versions.items()}
        schema = Schema.load(versions["variables"] / "assets.extra")
        target = schema.targets[0]
        known = pq.read_table(Path(model_dir) / "objects" / f"{target}.parquet")
        objects = known["object"].to_numpy()
        name = signature_name(schema, target, "score_candidates")
        for history, candidates, batch in itertools.product(HISTORIES, CANDIDATES, BATCHES):
            asked = many(made_up_requests(schema, objects, batch, history, candidates), schema)
            inputs = by_verb(asked)["score_candidates"]
            taken: dict[str, list[float]] = {weights: [] for weights in servables}
            for _ in range(_TURNS):
                for weights, servable in servables.items():
                    ask = functools.partial(servable.run, name, inputs)
                    taken[weights].append(timed(ask, seconds / _TURNS)["p50"])
            medians = {weights: float(np.median(times)) for weights, times in taken.items()}
            yield {"history": history, "candidates": candidates, "batch": batch, **medians}
        for servable in servables.values():
            servable.close()


def _main() -> None:
    results = measure(FLAGS.model_dir, FLAGS.seconds)
    size = next(results)
    print(f"bytes: {size['variables']:,} with variables, {size['constants']:,} with constants")
    print("| history | candidates | batch | variables | constants | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        before, after = r["variables"], r["constants"]
        print(
            f"| {r['history']} | {r['candidates']} | {r['batch']} | {before:.2f} ms "
            f"| {after:.2f} ms | {after / before:.2f} |",
            flush=True,
        )


def main() -> None:
    """Command line."""
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_float("seconds", 2.0, "For each figure.")
    cli.run(_main)


if __name__ == "__main__":
    main()
