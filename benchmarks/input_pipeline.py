r"""Measures whether training waits for its input: the tf.data pipeline alone, then training.

Example:
    python -m benchmarks.input_pipeline --data_dir=runs/ml-100k/data
"""

import json
import time
from pathlib import Path
from typing import Any

import keras
from absl import flags

from atrank_tf import PointwiseLoss, RowSparse, TargetCount
from benchmarks.form import FORMS
from data_pipeline import TimelineData
from data_pipeline.core import cli

FLAGS = flags.FLAGS

# Batches before the clock starts: graphs are traced, buffers filled.
_WARM_UP = 20


def measure(data_dir: str, form: str, num_batches: int) -> dict[str, Any]:
    """Returns the targets a second of the pipeline alone, and those of training.

    Args:
        data_dir: Prepared data.
        form: A key of `FORMS`.
        num_batches: How many batches to time, over as many epochs as it takes. Both start
            warm, once a run: training reads its epochs in one iteration.
    """
    data = TimelineData(data_dir)
    batches = FORMS[form].batches(data, 100, seed=1).repeat().take(_WARM_UP + num_batches)
    targets, start = 0.0, 0.0
    for number, (_, labels) in enumerate(batches):
        if number == _WARM_UP:
            targets, start = 0.0, time.monotonic()
        targets += float(labels.numpy().sum())
    pipeline = targets / (time.monotonic() - start)

    model = FORMS[form].model(data)
    model.compile(RowSparse(0.001, clip_norm=5.0), PointwiseLoss(), metrics=[TargetCount()])
    marks: list[tuple[float, float]] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: marks.append((time.monotonic(), logs["targets"]))
    )
    model.fit(batches, verbose=0, shuffle=False, callbacks=[clock])
    (start, before), (end, after) = marks[_WARM_UP - 1], marks[-1]
    trained = float(after - before) / (end - start)
    return {
        "training": form,
        "pipeline": pipeline,
        "trained": trained,
        "ratio": pipeline / trained,
    }


def _main() -> None:
    result = measure(FLAGS.data_dir, FLAGS.form, FLAGS.batches)
    print(f"pipeline alone: {result['pipeline']:,.0f} targets/s")
    print(f"training:       {result['trained']:,.0f} targets/s")
    print(f"ratio:          {result['ratio']:.1f}")
    if FLAGS.output:
        Path(FLAGS.output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_enum("form", "causal", list(FORMS), "Which form of training.")
    flags.DEFINE_integer("batches", 200, "How many batches to time.", lower_bound=1)
    flags.DEFINE_string("output", "", "JSON file to write.")
    cli.run(_main)


if __name__ == "__main__":
    main()
