r"""Trains one form of the model for some minutes and writes how its AUC rose.

The clock runs while the model trains, from the end of the first step on. What comes before, from
the start of the process on, is reported as the time to the first step.

Example:
    python -m benchmarks.form --data_dir=runs/ml-100k/data --form=causal --output=a.json
"""

import dataclasses
import json
import os
import resource
import time
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from atrank_tf import ATRank, PointwiseLoss, RowSparse, TargetCount
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.train.loop import mean_auc, user_aucs
from benchmarks.flops import matmul_peak, step_flops
from benchmarks.naive import NAIVE_ROWS, NaiveATRank, naive_batches
from data_pipeline import BatchOptions, TimelineData
from data_pipeline.core import cli

FLAGS = flags.FLAGS

_UNTRUNCATED = 10**6
_FIRST_EVALUATION = 30  # After this part of the time.


@dataclasses.dataclass(frozen=True)
class Form:
    """A way to train: the model, its batches, and the best learning rate that was tried."""

    name: str
    learning_rate: float
    rows: Literal["queries", "windows"] = "queries"

    def model(self, data: TimelineData) -> ATRank:
        """Returns a new model."""
        kind = NaiveATRank if self.name == "naive" else ATRank
        form: Any = "causal" if self.name == "causal" else "paper"
        return kind(data.schema, data.catalog, form=form)

    def batches(self, data: TimelineData, max_history: int, seed: int) -> tf.data.Dataset:
        """Returns an epoch of batches; each iteration gives another."""
        if self.name == "naive":
            return naive_batches(data, max_history, seed)
        return data.batches("train", self._options(max_history), seed=seed)

    def optimizer(self, data: TimelineData, max_history: int) -> RowSparse:
        """Returns an optimizer whose rate falls by a tenth in each epoch."""
        if self.name == "naive":
            batches = 2 * sum(data.manifest.targets["train"].values()) // NAIVE_ROWS
        else:
            batches = data.count_batches("train", self._options(max_history))
        rate = keras.optimizers.schedules.ExponentialDecay(self.learning_rate, batches, 0.9)
        return RowSparse(rate, clip_norm=5.0)

    def _options(self, max_history: int) -> BatchOptions:
        return BatchOptions(rows=self.rows, max_history=max_history)


FORMS = {
    form.name: form
    for form in (
        Form("naive", 0.0005),
        Form("paper", 0.002),
        Form("causal", 0.004, rows="windows"),
    )
}


def _process_age() -> float:
    """Returns the seconds since this process was started, as Linux knows it."""
    started = Path("/proc/self/stat").read_text().rsplit(")")[-1].split()[19]
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return now - int(started) / os.sysconf("SC_CLK_TCK")


class _Clock(keras.callbacks.Callback):
    """Stops the clock for evaluations, and training when its time is over."""

    def __init__(
        self, data: TimelineData, max_history: int, seconds: float, evaluations: int
    ) -> None:
        super().__init__()
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0
        self.targets = 0.0
        self.first_step = 0.0
        self.scoring_seconds = 0.0
        self._data = data
        self._max_history = max_history
        self._budget = seconds
        # Ever rarer: curves are steep at their start.
        first = 1 / _FIRST_EVALUATION if evaluations > 1 else 1.0
        self._due = list(np.geomspace(seconds * first, seconds, evaluations))
        self._scorings: dict[str, Scoring] = {}
        self._since = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        now = time.monotonic()
        if not self.first_step:
            self.first_step = _process_age()
            self._before = logs["targets"]
        else:
            self.seconds += now - self._since
        self.targets = float(logs["targets"]) - self._before
        is_over = self.seconds >= self._budget
        if self.seconds >= self._due[0] or is_over:
            self._evaluate()
            self._due = [due for due in self._due if due > self.seconds] or [self._budget]
        self.model.stop_training = is_over
        self._since = time.monotonic()

    def _evaluate(self) -> None:
        point = {"seconds": round(self.seconds, 2), "targets": self.targets}
        for split in ("validation", "test"):
            if split not in self._scorings:
                batches = self._data.batches(split, BatchOptions(max_history=self._max_history))
                self._scorings[split] = Scoring(self.model, batches)
            start = time.monotonic()
            point[f"{split}_auc"] = mean_auc(user_aucs(self._scorings[split]))  # type: ignore[assignment]
            self.scoring_seconds = time.monotonic() - start
        self.curve.append(point)
        print(" ".join(f"{name} {value:.5g}" for name, value in point.items()), flush=True)


def _work(model: ATRank, batches: tf.data.Dataset) -> tuple[float, float]:
    """Returns the FLOPs a target of some batches, and the share of tokens that are no padding."""
    flops = targets = tokens = padded = 0.0
    for inputs, labels in batches.take(30):
        lengths = np.sum(
            [h["object"].row_lengths().numpy() for h in inputs["history"].values()], axis=0
        )
        tokens += lengths.sum()
        padded += lengths.max() * len(lengths)
        flops += step_flops(model, inputs)
        targets += float(labels.numpy().sum())
    return flops / targets, tokens / padded


def measure(
    data_dir: str, form: Form, max_history: int, seconds: float, evaluations: int, seed: int
) -> dict[str, Any]:
    """Trains a form and returns what was measured.

    Args:
        data_dir: Prepared data with one target group.
        form: Which form.
        max_history: Behaviors that a history keeps.
        seconds: How long to train.
        evaluations: How often to measure AUC, the last time at the end.
        seed: Of weights, order and negatives.
    """
    keras.utils.set_random_seed(seed)
    data = TimelineData(data_dir)
    model = form.model(data)
    batches = form.batches(data, max_history, seed)
    optimizer = form.optimizer(data, max_history)
    model.compile(optimizer, PointwiseLoss(), metrics=[TargetCount()])
    optimizer.build(model.trainable_variables)  # As training does: the step is traced once.
    clock = _Clock(data, max_history, seconds, evaluations)
    model.fit(batches.repeat(), steps_per_epoch=10**9, verbose=0, shuffle=False, callbacks=[clock])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    target_flops, useful = _work(model, batches)
    rate = clock.targets / clock.seconds
    return {
        "form": form.name,
        "max_history": max_history,
        "seed": seed,
        "seconds_to_first_step": clock.first_step,
        "scoring_seconds": clock.scoring_seconds,
        "targets_per_second": rate,
        "useful_token_share": useful,
        "flops": rate * target_flops,
        "matmul_peak_flops": {size: matmul_peak(size) for size in (512, 2048)},
        "peak_memory_bytes": peak,
        "curve": clock.curve,
    }


def _main() -> None:
    result = measure(
        FLAGS.data_dir,
        FORMS[FLAGS.form],
        FLAGS.max_history or _UNTRUNCATED,
        FLAGS.seconds,
        FLAGS.evaluations,
        FLAGS.seed,
    )
    path = Path(FLAGS.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{result['targets_per_second']:,.0f} targets/s; wrote {path}")


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("data_dir", None, "Prepared data.", required=True)
    flags.DEFINE_string("output", None, "JSON file to write.", required=True)
    flags.DEFINE_enum("form", "causal", list(FORMS), "Which form.")
    flags.DEFINE_integer("max_history", 100, "Newest behaviors of a history; 0 for all.")
    flags.DEFINE_float("seconds", 120.0, "How long to train.")
    flags.DEFINE_integer("evaluations", 1, "How often to measure AUC.", lower_bound=1)
    flags.DEFINE_integer("seed", 1, "Of weights, order and negatives.")
    cli.run(_main)


if __name__ == "__main__":
    main()
