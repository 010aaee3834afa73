"""Training: epochs, each followed by validation and a checkpoint."""

import itertools
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.evaluation import Scoring
from atrank_tf.models import Ranker
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train.build import build_model
from atrank_tf.train.settings import Settings
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.core.progress import Progress
from data_pipeline.dataset import TimelineData

# An interrupted run loses the work of this time at most.
CHECKPOINT_SECONDS = 300.0

# Points that the curve of a run has at the least whose seconds are bounded.
_POINTS = 4


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
    """
    settings = settings.completed()
    data = TimelineData(data_dir, settings.groups, settings.targets)
    if not data.num_targets("train"):
        raise UserError(f"{data_dir}: no target lies in the training period")
    run = RunDirectory(model_dir)
    state = run.begin(
        {**settings.to_dict(), "data_dir": str(data_dir)},
        data.manifest.fingerprint,
        data.directory / "objects",
    )
    if state is not None and _is_over(state, settings):
        return state
    batches_an_epoch = data.count_batches("train", settings)
    if state is None:
        keras.utils.set_random_seed(settings.seed)
        model = build_model(data, settings, batches_an_epoch)
        state = {
            "epoch": 0,
            "batch": 0,
            "best_epoch": 0,
            "best_auc": 0.0,
            "seconds": 0.0,
            "targets_seen": 0,
            "curve": [],
        }
    else:
        model = run.load_last()
        print(
            f"resuming {model_dir} after epoch {state['epoch']}, batch {state['batch']}",
            file=sys.stderr,
        )
    if not model.trainable_weights:
        state["best_auc"] = mean_auc(user_aucs(validation_scoring(model, data, settings)))
        run.save(model, state, is_best=True)
        return state
    return _Loop(model, data, run, settings, state, batches_an_epoch).run()


class _Loop:
    """Runs epochs; what they share is made once: their batches, the step, the writer of curves.

    Keras' `fit` would begin the dataset anew in each epoch, which costs about a second.

    Args:
        model: The model, compiled.
        data: What it learns from.
        run: Where it is saved.
        settings: Settings of the run.
        state: Where training stands.
        batches_an_epoch: About.
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
        self._step = tf.function(
            lambda *batch: model.train_step(batch),
            input_signature=self._batches.element_spec[1:],
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
        before, start = self._state, time.monotonic()
        seconds, logs = 0.0, {}
        self._model.reset_metrics()
        for _, *batch in batches:
            start += self._save_in_time()
            logs = {name: float(value) for name, value in self._step(*batch).items()}
            if not math.isfinite(logs["loss"]):
                raise DivergedError(f"the loss is {logs['loss']}: choose a smaller learning rate")
            seconds = time.monotonic() - start
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
            start += self._validate_midway()
        return logs["loss"], logs["targets"] / seconds

    def _save_in_time(self) -> float:
        """Saves the model within a long epoch, before its next batch.

        Never behind the last batch: a run that resumes there would find none.

        Returns:
            The seconds that it took, which are not of training.
        """
        start = time.monotonic()
        if not self._state["batch"] or start - self._saved < CHECKPOINT_SECONDS:
            return 0.0
        self._save(is_best=False)
        return time.monotonic() - start

    def _validate_midway(self) -> float:
        """Measures the model within a long epoch, for the curve alone: the best is of epochs' ends.

        Returns:
            The seconds that it took, which are not of training.
        """
        curve, seconds = self._state["curve"], self._state["seconds"]
        since = seconds - (curve[-1][0] if curve else 0.0)
        if not 0 < self._settings.max_seconds <= since * _POINTS:
            return 0.0
        start = time.monotonic()
        auc = mean_auc(user_aucs(self._validation))
        self._state = {**self._state, "curve": [*curve, [seconds, auc]]}
        return time.monotonic() - start

    def _end_epoch(self, loss: float, rate: float) -> None:
        """Measures the model and saves it."""
        aucs = user_aucs(self._validation)
        auc = mean_auc(aucs)
        is_first = not self._state["best_epoch"]
        is_best = auc is None or is_first or auc > self._state["best_auc"]
        epoch = self._state["epoch"] + 1
        with self._writer.as_default(step=epoch):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/targets_per_second", rate)
            if auc is not None:
                tf.summary.scalar("validation/auc", auc)
            for target, values in aucs.items():
                if len(values):
                    tf.summary.scalar(f"validation/auc/{target}", values.mean())
        self._writer.flush()
        shown = "no validation targets" if auc is None else f"validation AUC {auc:.4f}"
        print(
            f"epoch {epoch}/{self._settings.epochs}: loss {loss:.4f}, {shown}"
            f"{' (best)' if is_best else ''}, {rate:,.0f} targets/s",
            file=sys.stderr,
        )
        curve = [*self._state["curve"], [self._state["seconds"], auc]]
        self._state = {**self._state, "epoch": epoch, "batch": 0, "curve": curve}
        if is_best:
            self._state |= {"best_epoch": epoch, "best_auc": auc}
        self._save(is_best)

    def _save(self, is_best: bool) -> None:
        self._run.save(self._model, self._state, is_best)
        self._saved = time.monotonic()


def validation_scoring(model: Ranker, data: TimelineData, settings: Settings) -> Scoring:
    """Returns the scoring of the validation targets, two queries of each user at most."""
    return Scoring(
        model,
        data.batches("validation", BatchOptions(max_history=settings.max_history, max_queries=2)),
    )


def user_aucs(scoring: Scoring) -> dict[str, np.ndarray]:
    """Returns by target group the AUC of each user who has one: float [users]."""
    measured = {name: ranking_metrics.per_user(s) for name, s in scoring.run().items()}
    return {name: user.means["auc"][user.positives > 0] for name, user in measured.items()}


def mean_auc(aucs: Mapping[str, np.ndarray]) -> float | None:
    """Returns the mean of what `user_aucs` returned; None without targets.

    Each user counts once for each of his target groups, so a group with few users hardly
    changes the mean, by which the best epoch is chosen.
    """
    values = np.concatenate(list(aucs.values()))
    return float(values.mean()) if len(values) else None


def _is_over(state: dict[str, Any], settings: Settings) -> bool:
    is_no_better = state["epoch"] - state["best_epoch"] >= settings.patience
    is_done = state["epoch"] >= settings.epochs
    return is_done or is_no_better or _is_out_of_time(state, settings)


def _is_out_of_time(state: dict[str, Any], settings: Settings) -> bool:
    return 0 < settings.max_seconds <= state["seconds"]
