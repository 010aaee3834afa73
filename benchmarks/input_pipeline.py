r"""Measures whether training waits for its input: the tf.data pipeline alone, then training.

Example:
    python -m benchmarks.input_pipeline --data_dir=runs/ml-100k/data
"""

import time

from absl import flags

from atrank_tf import ATRank, LazyAdam, PointwiseLoss, TargetCount, cli
from data_pipeline import TimelineData

FLAGS = flags.FLAGS

# Batches before the clock starts: graphs are traced, buffers filled.
_WARM_UP = 20


def measure(data_dir: str, num_batches: int) -> tuple[float, float]:
    """Returns the targets a second of the pipeline alone, and those of training."""
    import keras

    data = TimelineData(data_dir)
    batches = data.batches("train", seed=1, epoch=0).repeat().take(_WARM_UP + num_batches)
    targets = 0.0
    for place, (_, labels) in enumerate(batches):
        if place == _WARM_UP:
            start, targets = time.monotonic(), 0.0
        targets += float(labels.numpy().sum())
    pipeline = targets / (time.monotonic() - start)

    model = ATRank(data.schema, data.catalog)
    model.compile(LazyAdam(0.001, clip_norm=5.0), PointwiseLoss(), metrics=[TargetCount()])
    marks: list[tuple[float, float]] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: marks.append((time.monotonic(), logs["targets"]))
    )
    model.fit(batches, verbose=0, shuffle=False, callbacks=[clock])
    (start, before), (end, after) = marks[_WARM_UP - 1], marks[-1]
    return pipeline, float(after - before) / (end - start)


def _main() -> None:
    pipeline, training = measure(FLAGS.data_dir, FLAGS.batches)
    print(f"pipeline alone: {pipeline:,.0f} targets/s")
    print(f"training:       {training:,.0f} targets/s")
    print(f"ratio:          {pipeline / training:.1f}")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_integer("batches", 100, "How many batches to time.", lower_bound=1)
    cli.run(_main)


if __name__ == "__main__":
    main()
