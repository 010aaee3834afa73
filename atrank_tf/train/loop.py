"""Training: epochs, each followed by validation and a checkpoint."""

import itertools
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.models import Ranker
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train.build import build_model
from atrank_tf.train.settings import Settings
from atrank_tf.train.stopwatch import Stopwatch
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core import durable
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.core.progress import Progress
from data_pipeline.dataset import TimelineData

# An interrupted run loses the work of this time at most.
CHECKPOINT_SECONDS = 300.0

# The curve of a run whose seconds are bounded has at least so many points.
CURVE_POINTS = 4


def train(data_dir: str, model_dir: str, settings: Settings) -> dict[str, Any]:
    """Trains a model, or goes on where an interrupted run stood.

    After each epoch it measures AUC on the validation targets. After each epoch and every
    few minutes it saves the model. A run that is started again with the same settings
    goes on from there, and ends with the weights that it would have had without the
    interruption.

    Args:
        data_dir: Prepared data.
        model_dir: Run directory; see `RunDirectory` for what is in it.
        settings: Settings of the run.

    Returns:
        Where training ended: `epoch`, `best_epoch`, `best_auc`, `seconds` and more.

    Raises:
        UserError: A setting is out of range, there is no prepared data or no training
            target in it, or `model_dir` holds a run with other settings.

    Example:

    >>> settings = Settings(model="popularity")  # Has nothing to train: it is measured and saved.
    >>> state = train(str(toy_data()), "runs/popularity", settings)
    >>> 0 < state["best_auc"] < 1
    True
    """
    settings = settings.completed()
    data = TimelineData(data_dir, settings.groups, settings.targets)
    if not data.num_targets("train"):
        raise UserError(f"{data_dir}: no target lies in the training period")
    run = RunDirectory(model_dir)
    model, batches_an_epoch = None, None
    if not run.is_begun:  # A model that cannot be made leaves nothing behind.
        batches_an_epoch = data.count_batches("train", settings)
        keras.utils.set_random_seed(settings.seed)
        model = build_model(data, settings, batches_an_epoch)
    with durable.locked(run.path / ".lock", str(model_dir)):
        state = run.begin(
            {**settings.to_dict(), "data_dir": str(data_dir)},
            data.manifest.fingerprint,
            data.directory / "objects",
        )
        return _run(run, state, model, data, settings, batches_an_epoch)


def _run(
    run: RunDirectory,
    state: dict[str, Any] | None,
    model: Ranker | None,
    data: TimelineData,
    settings: Settings,
    batches_an_epoch: int | None,
) -> dict[str, Any]:
    """Trains a model that was just made, or goes on with the run's."""
    if state is not None and _is_over(state, settings):
        return state
    if batches_an_epoch is None:
        batches_an_epoch = data.count_batches("train", settings)
    if state is None:
        state = _first_state()
    else:
        model = run.load_last()
        print(
            f"resuming {run.path} after epoch {state['epoch']}, batch {state['batch']}",
            file=sys.stderr,
        )
    assert model is not None  # It was made where no run was begun.
    if not model.trainable_weights:
        state["best_auc"] = mean_auc(user_aucs(validation_scoring(model, data, settings)))
        run.save(model, state, is_best=True)
        return state
    return _Loop(model, data, run, settings, state, batches_an_epoch).run()


def _first_state() -> dict[str, Any]:
    """Where training stands before its first batch."""
    return {
        "epoch": 0,
        "batch": 0,
        "best_epoch": 0,
        "best_auc": 0.0,
        "seconds": 0.0,
        "targets_seen": 0,
        "curve": [],
    }


class _Loop:
    """Runs epochs; what they share is made once: their batches, the step, the writer of curves.

    Keras' `fit` would begin the dataset anew in each epoch, which costs about a second.
    Seconds of training are those of `_train`, without what it does while its stopwatch is paused.

    Args:
        model: The model, compiled.
        data: What it learns from.
        run: Where it is saved.
        settings: Settings of the run.
        state: Where training stands.
        batches_an_epoch: About how many batches an epoch has.
    """

    def __init__(
        self,
        model: Ranker,
        data: TimelineData,
        run: RunDirectory,
        settings: Settings,
        state: dict[str, Any],
        batches_an_epoch: int,
    ) -> None:
        self._model = model
        self._run = run
        self._settings = settings
        self._state = state
        self._batches = data.epochs(
            state["epoch"], settings.epochs, settings, seed=settings.seed
        ).skip(state["batch"])
        specs = cast(tuple[Any, ...], self._batches.element_spec)
        self._step = tf.function(
            lambda *batch: model.train_step(batch),
            input_signature=specs[1:],
            autograph=False,
        )
        self._step.get_concrete_function()  # Traced here, or the first epoch would pay for it.
        left = batches_an_epoch * (settings.epochs - state["epoch"]) - state["batch"]
        self._progress = Progress("training", "batches", left)
        self._validation = validation_scoring(model, data, settings)
        self._writer = tf.summary.create_file_writer(str(run.tensorboard))
        self._saved = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Trains to the end, and returns where that is."""
        epochs = itertools.groupby(self._batches, key=lambda batch: int(batch[0]))
        while not _is_over(self._state, self._settings):
            _, batches = next(epochs)
            self._end_epoch(*self._train(batches))
        return self._state

    def _train(self, batches: Iterable[tuple[Any, ...]]) -> tuple[float, float]:
        """Trains what is left of an epoch; returns its loss and targets a second."""
        before, stopwatch = self._state, Stopwatch()
        seconds, logs = 0.0, {}
        self._model.reset_metrics()
        for _, *batch in batches:
            if self._is_time_to_save():
                with stopwatch.paused():
                    self._save(is_best=False)
            logs = {name: float(value) for name, value in self._step(*batch).items()}
            if not math.isfinite(logs["loss"]):
                raise DivergedError(f"the loss is {logs['loss']}: choose a smaller learning rate")
            seconds = stopwatch.seconds()
            self._state = {
                **self._state,
                "batch": self._state["batch"] + 1,
                "seconds": before["seconds"] + seconds,
                "targets_seen": before["targets_seen"] + int(logs["targets"]),
            }
            bound = self._settings.max_seconds or math.inf
            self._progress.advance(
                1, f"loss {logs['loss']:.4f}", at_most=bound - self._state["seconds"]
            )
            if _is_out_of_time(self._state, self._settings):
                break
            if self._is_time_to_validate():
                with stopwatch.paused():
                    self._add_to_curve(mean_auc(user_aucs(self._validation)))
        return logs["loss"], logs["targets"] / seconds

    def _is_time_to_save(self) -> bool:
        """Whether to save the model within a long epoch, before its next batch.

        Never behind the last batch: a run that resumes there would find none.
        """
        return self._state["batch"] > 0 and time.monotonic() - self._saved >= CHECKPOINT_SECONDS

    def _is_time_to_validate(self) -> bool:
        """Whether to measure the model within a long epoch.

        That is for the curve alone: the best model is chosen at the ends of epochs.
        """
        curve, seconds = self._state["curve"], self._state["seconds"]
        since = seconds - (curve[-1][0] if curve else 0.0)
        return 0 < self._settings.max_seconds <= since * CURVE_POINTS

    def _add_to_curve(self, auc: float | None) -> None:
        curve = [*self._state["curve"], [self._state["seconds"], auc]]
        self._state = {**self._state, "curve": curve}

    def _end_epoch(self, loss: float, rate: float) -> None:
        """Measures the model, says how good it is, and saves it."""
        aucs = user_aucs(self._validation)
        auc = mean_auc(aucs)
        is_first = not self._state["best_epoch"]
        is_best = auc is None or is_first or auc > self._state["best_auc"]
        epoch = self._state["epoch"] + 1
        self._write_summaries(epoch, loss, rate, aucs)
        print(
            f"epoch {epoch}/{self._settings.epochs}: loss {loss:.4f}, {_shown(aucs)}"
            f"{' (best)' if is_best else ''}, {rate:,.0f} targets/s",
            file=sys.stderr,
        )
        self._state = {**self._state, "epoch": epoch, "batch": 0}
        self._add_to_curve(auc)
        if is_best:
            self._state |= {"best_epoch": epoch, "best_auc": auc}
        self._save(is_best)

    def _write_summaries(
        self, epoch: int, loss: float, rate: float, aucs: Mapping[str, np.ndarray]
    ) -> None:
        """Writes the points of an epoch for TensorBoard."""
        auc = mean_auc(aucs)
        with self._writer.as_default(step=epoch):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/targets_per_second", rate)
            if auc is not None:
                tf.summary.scalar("validation/auc", auc)
            for target, values in aucs.items():
                if len(values):
                    tf.summary.scalar(f"validation/auc/{target}", values.mean())
        self._writer.flush()

    def _save(self, is_best: bool) -> None:
        self._run.save(self._model, self._state, is_best)
        self._saved = time.monotonic()


def validation_scoring(model: Ranker, data: TimelineData, settings: Settings) -> Scoring:
    """Returns the scoring of the validation targets.

    Of sampled negatives two queries of each user are enough; logged candidates are all scored,
    since one time may have a single one.

    Example:

    >>> data = TimelineData(toy_data())
    >>> scoring = validation_scoring(Popularity(data.schema, data.catalog), data, Settings())
    >>> scoring.candidates  # How many each batch had: none was scored yet.
    []
    """
    is_logged = any(data.schema.target_group(t).impressions for t in data.schema.target_names)
    options = BatchOptions(
        max_history=settings.max_history,
        max_queries=0 if is_logged else 2,
        look_ups=model.look_ups is not None,
    )
    return Scoring(model, data.batches("validation", options))


def user_aucs(scoring: Scoring) -> dict[str, np.ndarray]:
    """Runs a scoring, and returns by target the AUC of each user who has one: float [users].

    Example:

    >>> class Scored7:  # Stands for a `Scoring`.
    ...     def run(self):
    ...         users, queries = np.array([7, 7]), np.array([0, 0])
    ...         scores = np.array([0.3, -0.2])
    ...         return {"item": ranking_metrics.Scored(users, queries, np.array([1, 0]), scores)}
    >>> user_aucs(Scored7())
    {'item': array([1.])}
    """
    metrics = {target: ranking_metrics.per_user(scored) for target, scored in scoring.run().items()}
    return {target: users.means["auc"][users.positives > 0] for target, users in metrics.items()}


def mean_auc(aucs: Mapping[str, np.ndarray]) -> float | None:
    """Returns the mean over targets of their mean over users; None without targets.

    The best epoch is chosen by it, so a target with few users counts as much as any.

    Example:

    >>> mean_auc({"item": np.array([0.5, 1.0]), "query": np.array([0.25])})
    0.5
    >>> mean_auc({"item": np.array([])}) is None
    True
    """
    means = [values.mean() for values in aucs.values() if len(values)]
    return float(np.mean(means)) if means else None


def _shown(aucs: Mapping[str, np.ndarray]) -> str:
    """The validation AUC in words; of several targets that of each, too."""
    auc = mean_auc(aucs)
    if auc is None:
        return "no validation targets"
    each = ", ".join(f"{name} {values.mean():.4f}" for name, values in aucs.items() if len(values))
    return f"validation AUC {auc:.4f}" + (f" ({each})" if len(aucs) > 1 else "")


def _is_over(state: dict[str, Any], settings: Settings) -> bool:
    is_no_better = state["epoch"] - state["best_epoch"] >= settings.patience
    is_done = state["epoch"] >= settings.epochs
    return is_done or is_no_better or _is_out_of_time(state, settings)


def _is_out_of_time(state: dict[str, Any], settings: Settings) -> bool:
    return 0 < settings.max_seconds <= state["seconds"]
