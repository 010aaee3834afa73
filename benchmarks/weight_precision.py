r"""Measures what it would cost a trained model to have its weights stored in fewer bits.

The weights are rounded and the model scores the test's candidates with them, computing in
float32 as before: AUC, its difference to that of the weights as they are, paired by user, and
the bytes that the weights take.

Example:
    python -m benchmarks.weight_precision --model_dir=runs/ml-100k
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import flags

from atrank_tf import cli, ranking_metrics
from atrank_tf.evaluation import Scoring
from atrank_tf.ranking_metrics import format_interval
from atrank_tf.run_directory import RunDirectory

FLAGS = flags.FLAGS

Rounded = tuple[np.ndarray, int]


def as_float32(weight: np.ndarray, is_table: bool) -> Rounded:
    """The weight as it is, and its bytes."""
    return weight, weight.nbytes


def as_bfloat16(weight: np.ndarray, is_table: bool) -> Rounded:
    """Two bytes each."""
    return tf.cast(tf.cast(weight, tf.bfloat16), tf.float32).numpy(), weight.size * 2


def as_int8_tables(weight: np.ndarray, is_table: bool) -> Rounded:
    """A byte each and a float32 scale for each row of a table; other weights as they are."""
    if not is_table or weight.shape[1] == 1:  # A column of biases has nothing to share a scale.
        return as_float32(weight, is_table)
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-30) / 127
    return np.round(weight / scale) * scale, weight.size + 4 * len(weight)


PRECISIONS: dict[str, Callable[[np.ndarray, bool], Rounded]] = {
    "float32": as_float32,
    "bfloat16": as_bfloat16,
    "int8 tables": as_int8_tables,
}


def measure(model_dir: str, data_dir: str = "") -> list[dict[str, object]]:
    """Returns, for each precision and target, its bytes, AUC and paired difference."""
    run = RunDirectory(model_dir)
    data = run.data(data_dir)
    model = run.load_best(data.manifest.fingerprint)
    trained = [weight.numpy() for weight in model.trainable_weights]
    scoring = Scoring(model, data.batches("test", max_history=run.settings()["max_history"]))
    results, before = [], {}
    for name, rounded in PRECISIONS.items():
        size = 0
        for weight, values in zip(model.trainable_weights, trained, strict=True):
            values, taken = rounded(values, getattr(weight, "is_embedding_table", False))
            weight.assign(values)
            size += taken
        for target, scored in scoring.run().items():
            users = ranking_metrics.per_user(scored)
            first = before.setdefault(target, users)
            results.append(
                {
                    "weights": name,
                    "target": target,
                    "bytes": size,
                    "auc": ranking_metrics.summarize(users)["auc"],
                    "difference": ranking_metrics.difference(users, first),
                }
            )
    return results


def _main() -> None:
    print("| weights | bytes | target | AUC (95% interval) | less that of float32, by user |")
    print("| --- | --- | --- | --- | --- |")
    for r in measure(FLAGS.model_dir, FLAGS.data_dir):
        auc, difference = format_interval(r["auc"]), format_interval(r["difference"], "+")
        print(f"| {r['weights']} | {r['bytes']:,} | {r['target']} | {auc} | {difference} |")


def main() -> None:
    """Command line."""
    flags.DEFINE_string("model_dir", None, "Run directory of the model.", required=True)
    flags.DEFINE_string("data_dir", "", "Prepared data; that of the training by default.")
    cli.run(_main)


if __name__ == "__main__":
    main()
