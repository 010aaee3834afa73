r"""Shows where a training step of the causal form spends its time.

It fits what does not depend on the batch and what does to the times of steps of several
sizes, and measures by TensorFlow's profiler how long each kind of operation runs.

Example:
    python -m benchmarks.profile_step --data_dir=runs/ml-100k/data
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from atrank_tf import PointwiseLoss, RowSparse, TargetCount
from benchmarks import environments, report
from benchmarks.form import FORMS
from benchmarks.step_time import seconds_of_steps
from data_pipeline import BatchOptions, TimelineData
from data_pipeline.core import cli

FLAGS = flags.FLAGS

_HERE = Path(__file__).resolve().parent
_BUDGETS = (384, 768, 1536, 3072, 6144)
_STEPS = 40

# Parts of a step, by a pattern of their operations' names; the first that fits.
_PARTS = {
    "relative time biases": "relative_time_bias",
    "optimizer": "row_sparse|(^|Call/)(UnsortedSegmentSum|Unique)|global_norm|clip_by",
    "recency": "recency",
    "layer normalizations": "_norm",
    "self-attention": "self_attention",
    "vanilla attention": "vanilla_attention",
    "keys and values": "key_value",
    "behaviors and candidates": "_objects|_behaviors|project|_table",
}


def _batches(
    data: TimelineData, max_tokens: int | None = None
) -> tuple[tf.data.Dataset, list[float]]:
    """Batches kept in memory, so that nothing but the step runs, and the targets of each."""
    batches = data.batches("train", BatchOptions(rows="windows", max_tokens=max_tokens), seed=1)
    batches = batches.take(_STEPS).cache()
    return batches, [float(labels.numpy().sum()) for _, labels in batches]


def by(
    operations: list[dict[str, Any]], steps: int, key: Callable[[dict[str, Any]], str]
) -> list[dict[str, Any]]:
    """Returns the milliseconds that operations ran in a step by a key, the longest first."""
    milliseconds: Counter[str] = Counter()
    for operation in operations:
        milliseconds[key(operation)] += operation["total_self_time"] / 1e3 / steps
    return [{"name": name, "milliseconds": time} for name, time in milliseconds.most_common()]


def part(operation: dict[str, Any]) -> str:
    """Returns which part of a step an operation belongs to."""
    name = operation["operation"]
    return next((key for key, pattern in _PARTS.items() if re.search(pattern, name)), "the rest")


def measure(data_dir: str, output_dir: Path, envs_dir: Path) -> dict[str, Any]:
    """Returns what a step's time consists of.

    Args:
        data_dir: Prepared data with one target group.
        output_dir: Where the trace goes, for TensorBoard or xprof.
        envs_dir: Where the profile's reader is installed.
    """
    reader = environments.python_of(_HERE / "requirements-xprof.txt", envs_dir)
    keras.utils.set_random_seed(1)
    data = TimelineData(data_dir)
    form = FORMS["causal"]
    model = form.model(data)
    model.compile(
        RowSparse(form.learning_rate, clip_norm=5.0), PointwiseLoss(), metrics=[TargetCount()]
    )
    sizes = []
    for max_tokens in _BUDGETS:
        batches, targets = _batches(data, max_tokens)
        steps = seconds_of_steps(model, batches)
        seconds = float(np.median(steps[len(targets) // 8 :]))
        sizes.append(
            {
                "max_tokens": max_tokens,
                "targets": float(np.median(targets)),
                "seconds": seconds,
            }
        )
    times = np.array([size["seconds"] for size in sizes])
    # Relative errors count: those of small steps show what does not depend on the size.
    slope, fixed = np.polyfit([size["targets"] for size in sizes], times, 1, w=1 / times)

    batches, targets = _batches(data)
    model.fit(batches, verbose=0, shuffle=False)
    tf.profiler.experimental.start(str(output_dir))
    model.fit(batches, verbose=0, shuffle=False)
    tf.profiler.experimental.stop()
    trace = max(output_dir.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    table = output_dir / "operations.json"
    script = _HERE / "xprof_operations.py"
    environments.call([str(reader), str(script), str(trace), str(table)], "xprof")
    operations = json.loads(table.read_text())
    return {
        "sizes": sizes,
        "fixed_seconds": float(fixed),
        "seconds_a_target": float(slope),
        "kinds": by(operations, len(targets), lambda o: o["type"].replace("_Mkl", "")),
        "parts": by(operations, len(targets), part),
        "trace": str(trace),
    }


def _main() -> None:
    output = Path(FLAGS.output)
    result = measure(FLAGS.data_dir, output.parent / "trace", Path(FLAGS.envs_dir))
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(report.text({"profile": result}))
    print(f"wrote {output} and {result['trace']}")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("output", "runs/benchmark/profile/step.json", "JSON file to write.")
    flags.DEFINE_string("envs_dir", "runs/benchmark/environments", "Where tools are installed.")
    cli.run(_main)


if __name__ == "__main__":
    main()
