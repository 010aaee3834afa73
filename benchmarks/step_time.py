r"""Measures a training step against the vocabulary, the history's length, and the groups.

Each figure comes from made-up batches and a process of its own. A step has 2,000 behaviors,
and as many targets, each with one negative; ids are uniform, the worst case for caches.

Example:
    python -m benchmarks.step_time --vary=vocabulary --value=10000000
"""

import json
import resource
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from atrank_tf import (
    Adam,
    ATRank,
    Group,
    PointwiseLoss,
    RowSparse,
    RowwiseAdagrad,
    Schema,
    Vocabulary,
)
from data_pipeline import ragged
from data_pipeline.core import cli

FLAGS = flags.FLAGS

# What a step has where it is not what varies.
_OBJECTS = 100_000
_LENGTH = 80
_TOKENS = 2_000


def _schema(num_groups: int, num_objects: int) -> Schema:
    groups = tuple(Group(f"g{i}", num_objects=num_objects) for i in range(num_groups))
    vocabularies = tuple(Vocabulary(g.name, num_embeddings=num_objects) for g in groups)
    return Schema(groups, tuple(g.name for g in groups), vocabularies=vocabularies)


def _batch(schema: Schema, length: int, random: np.random.Generator) -> dict[str, Any]:
    """Rows of `length` events, as many of each group, each a target with one negative."""
    rows = _TOKENS // length
    share = length // len(schema.groups)
    num_objects = schema.groups[0].num_objects

    def as_ragged(values: np.ndarray) -> tf.RaggedTensor:
        return ragged.from_tensor(tf.constant(values, tf.int64), row_splits_dtype="int64")

    history = {}
    for group in schema.groups:
        history[group.name] = {
            "object": as_ragged(random.integers(0, num_objects, [rows, share])),
            "action": as_ragged(np.ones([rows, share])),
            "time": as_ragged(np.sort(random.integers(0, 10**8, [rows, share]), axis=1)),
        }
    times = {
        name: np.repeat(events["time"].to_tensor().numpy(), 2, axis=1)
        for name, events in history.items()
    }
    return {
        "query_time": {name: as_ragged(column) for name, column in times.items()},
        "history": history,
        "candidates": {
            name: as_ragged(random.integers(0, num_objects, column.shape))
            for name, column in times.items()
        },
    }


def seconds_of_steps(model: ATRank, batches: tf.data.Dataset) -> np.ndarray:
    """Trains a model and returns how long each step but the first took."""
    marks: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: marks.append(time.perf_counter())
    )
    model.fit(batches, verbose=0, shuffle=False, callbacks=[clock])
    return np.diff(marks)


def measure(num_objects: int, length: int, num_groups: int, tables: str) -> dict[str, float]:
    """Returns the median time of a training step, its spread, and the peak of memory.

    Args:
        num_objects: Objects of each group, each with an embedding index of its own.
        length: Events of a row, of all groups together.
        num_groups: Groups.
        tables: "adam" or "adagrad": the rule of the tables.
    """
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    schema = _schema(num_groups, num_objects)
    rows = {"embedding_indices": np.arange(num_objects)}
    rows |= {f"train_counts:{name}": np.ones(num_objects, int) for name in schema.target_names}
    # What attention costs: made-up batches tell of no habits.
    model = ATRank(schema, {group.name: rows for group in schema.groups}, recurrence=False)
    rule = {"adam": Adam, "adagrad": RowwiseAdagrad}[tables]()
    model.compile(RowSparse(0.003, tables=rule, clip_norm=5.0), PointwiseLoss())
    examples = [_batch(schema, length, random) for _ in range(16)]
    labels = np.tile([1.0, 0.0], _TOKENS // length * (length // num_groups) * num_groups)
    batches = tf.data.Dataset.from_tensors((examples[0], labels))
    for example in examples[1:]:
        batches = batches.concatenate(tf.data.Dataset.from_tensors((example, labels)))
    steps = seconds_of_steps(model, batches.cache().repeat(5))[16:]
    return {
        "median_seconds": float(np.median(steps)),
        "low_seconds": float(np.quantile(steps, 0.1)),
        "high_seconds": float(np.quantile(steps, 0.9)),
        "targets": float(len(labels) / 2),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _main() -> None:
    sizes = {"vocabulary": _OBJECTS, "history": _LENGTH, "groups": 1} | {FLAGS.vary: FLAGS.value}
    result = measure(sizes["vocabulary"], sizes["history"], sizes["groups"], FLAGS.tables)
    result = {"vary": FLAGS.vary, "value": FLAGS.value, "tables": FLAGS.tables, **result}
    print(f"a step takes {1e3 * result['median_seconds']:.1f} ms")
    if FLAGS.output:
        Path(FLAGS.output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_enum("vary", "vocabulary", ["vocabulary", "history", "groups"], "What varies.")
    flags.DEFINE_integer("value", _OBJECTS, "Its value.", lower_bound=1)
    flags.DEFINE_enum("tables", "adam", ["adam", "adagrad"], "The rule of embedding tables.")
    flags.DEFINE_string("output", "", "JSON file to write.")
    cli.run(_main)


if __name__ == "__main__":
    main()
