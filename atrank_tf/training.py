"""Training: epochs, each followed by validation and a checkpoint."""

import dataclasses
import itertools
import math
import sys
import time
from collections.abc import Collection, Iterable
from typing import Any

import keras
import tensorflow as tf

from atrank_tf import ranking_metrics
from atrank_tf.errors import UserError
from atrank_tf.evaluation import Scoring
from atrank_tf.losses import BPRLoss, PointwiseLoss
from atrank_tf.metrics import TargetCount
from atrank_tf.models import BPR, ATRank, Popularity, Ranker
from atrank_tf.optimizers import SGD, Adam, RowSparse, RowwiseAdagrad, Rule
from atrank_tf.progress import Progress
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData

# An interrupted run loses the work of this time at most.
CHECKPOINT_SECONDS = 300.0

MODELS: dict[str, type[Ranker]] = {"atrank": ATRank, "bpr": BPR, "popularity": Popularity}
TABLE_RULES: dict[str, type[Rule]] = {"adam": Adam, "adagrad": RowwiseAdagrad, "sgd": SGD}
REST_RULES: dict[str, type[Rule]] = {"adam": Adam, "sgd": SGD}
PRECISIONS = ("float32", "mixed_bfloat16")
TRAININGS = ("all_positions", "moments")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training run.

    Attributes:
        model: A key of `MODELS`.
        model_settings: Arguments of its constructor that differ from the defaults.
        training: "all_positions": one encoding of a stretch of a timeline trains all its
            targets (atrank takes its causal form); "moments": a history is encoded for
            each moment at which there are targets (atrank takes the paper's form).
        epochs: Epochs at most.
        patience: Epochs without a better validation AUC after which training stops.
        learning_rate: Of the optimiser, at the start.
        decay: What the learning rate is multiplied with in each epoch, bit by bit; 1 for a
            rate that stays.
        tables: A key of `TABLE_RULES`: the optimiser's rule of embedding tables.
        rest: A key of `REST_RULES`: its rule of all other weights.
        clip_norm: Bound on the global norm of the gradients.
        token_budget: Behaviours and candidates in a batch, about.
        max_history: Newest behaviours of each group that a history keeps.
        max_moments: Moments of each user in an epoch, chosen at random; 0 for all. For
            `training="moments"`.
        num_negatives: Negatives of each positive.
        precision: One of `PRECISIONS`: "mixed_bfloat16" computes in bfloat16 where weights
            stay float32, for accelerators.
        seed: Of initial weights, dropout, order and negatives.
    """

    model: str = "atrank"
    model_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: str = "all_positions"
    epochs: int = 16
    patience: int = 4
    learning_rate: float = 0.004
    decay: float = 0.9
    tables: str = "adam"
    rest: str = "adam"
    clip_norm: float = 5.0
    token_budget: int = 3072
    max_history: int = 100
    max_moments: int = 0
    num_negatives: int = 1
    precision: str = "float32"
    seed: int = 1


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
    _check(settings)
    data = TimelineData(data_dir)
    if not sum(data.manifest.targets["train"].values()):
        raise UserError(f"{data_dir}: no target lies in the training period")
    run = RunDirectory(model_dir)
    state = run.begin(
        {**dataclasses.asdict(settings), "data_dir": str(data_dir)},
        data.manifest.fingerprint,
        data.directory / "objects",
    )
    batches_an_epoch = data.count_batches("train", **_cut(settings))
    if state is None:
        keras.utils.set_random_seed(settings.seed)
        model = _new_model(data, settings, batches_an_epoch)
        state = {
            "epoch": 0,
            "batch": 0,
            "best_epoch": 0,
            "best_auc": 0.0,
            "seconds": 0.0,
            "targets_seen": 0,
        }
    else:
        model = run.load_last()
        print(
            f"resuming {model_dir} after epoch {state['epoch']}, batch {state['batch']}",
            file=sys.stderr,
        )
    if not model.trainable_weights:
        auc = mean_auc(validation_scoring(model, data, settings))
        run.save(model, {**state, "best_auc": auc}, is_best=True)
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
            state["epoch"], settings.epochs, seed=settings.seed, **_cut(settings)
        ).skip(state["batch"])
        self._step = tf.function(
            lambda inputs, labels: model.train_step((inputs, labels)),
            input_signature=self._batches.element_spec[1:],
        )
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

    def _train(self, batches: Iterable[tuple[Any, Any, tf.Tensor]]) -> tuple[float, float]:
        """Trains what is left of an epoch; returns its loss and targets a second."""
        before, start = self._state, time.monotonic()
        seconds, logs = 0.0, {}
        self._model.reset_metrics()
        for _, inputs, labels in batches:
            # Never behind the last batch: a run that resumes there would find none.
            if self._state["batch"] and time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
                self._save(is_best=False)
            logs = {name: float(value) for name, value in self._step(inputs, labels).items()}
            if not math.isfinite(logs["loss"]):
                raise UserError(f"the loss is {logs['loss']}: choose a smaller learning rate")
            seconds = time.monotonic() - start
            self._state = {
                **before,
                "batch": self._state["batch"] + 1,
                "seconds": before["seconds"] + seconds,
                "targets_seen": before["targets_seen"] + int(logs["targets"]),
            }
            self._progress.advance(1, note=f"loss {logs['loss']:.4f}")
        return logs["loss"], logs["targets"] / seconds

    def _end_epoch(self, loss: float, rate: float) -> None:
        """Measures the model and saves it."""
        auc = mean_auc(self._validation)
        is_best = auc is None or auc > self._state["best_auc"]
        epoch = self._state["epoch"] + 1
        with self._writer.as_default(step=epoch):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/targets_per_second", rate)
            if auc is not None:
                tf.summary.scalar("validation/auc", auc)
        self._writer.flush()
        shown = "no validation targets" if auc is None else f"validation AUC {auc:.4f}"
        print(
            f"epoch {epoch}/{self._settings.epochs}: loss {loss:.4f}, {shown}"
            f"{' (best)' if is_best else ''}, {rate:,.0f} targets/s",
            file=sys.stderr,
        )
        self._state = {**self._state, "epoch": epoch, "batch": 0}
        if is_best:
            self._state |= {"best_epoch": epoch, "best_auc": auc}
        self._save(is_best)

    def _save(self, is_best: bool) -> None:
        self._run.save(self._model, self._state, is_best)
        self._saved = time.monotonic()


def _cut(settings: Settings) -> dict[str, Any]:
    return {
        "num_negatives": settings.num_negatives,
        "max_history": settings.max_history,
        "token_budget": settings.token_budget,
        "max_moments": settings.max_moments or None,
        "all_positions": settings.training == "all_positions",
    }


def _new_model(data: TimelineData, settings: Settings, batches_an_epoch: int) -> Ranker:
    arguments = {**settings.model_settings, "dtype": settings.precision}
    if settings.model == "atrank":
        if "causal" in arguments:
            raise UserError("model_settings: causal follows from training")
        arguments["causal"] = settings.training == "all_positions"
    try:
        model = MODELS[settings.model](data.schema, data.catalog, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {settings.model!r}: {error}") from error
    model.compile(
        optimizer=RowSparse(
            keras.optimizers.schedules.ExponentialDecay(
                settings.learning_rate, batches_an_epoch, settings.decay
            ),
            tables=TABLE_RULES[settings.tables](),
            rest=REST_RULES[settings.rest](),
            clip_norm=settings.clip_norm,
        ),
        loss=BPRLoss() if settings.model == "bpr" else PointwiseLoss(),
        metrics=[TargetCount()],
    )
    return model


def _check(settings: Settings) -> None:
    choices: dict[str, Collection[str]] = {
        "model": MODELS,
        "training": TRAININGS,
        "tables": TABLE_RULES,
        "rest": REST_RULES,
        "precision": PRECISIONS,
    }
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            expected = ", ".join(known)
            raise UserError(f"{name} {getattr(settings, name)!r}: expected one of {expected}")
    for name in ("epochs", "patience", "token_budget", "max_history", "num_negatives"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name} is {getattr(settings, name)}: expected 1 or more")
    if not 0 <= settings.seed < 2**32:
        raise UserError(f"seed is {settings.seed}: expected 0 to {2**32 - 1}")
    if settings.max_moments < 0:
        raise UserError(f"max_moments is {settings.max_moments}: expected 0 (all) or more")
    if settings.max_moments and settings.training != "moments":
        raise UserError("max_moments: only for training='moments'; all_positions has stretches")
    if not 0 < settings.decay <= 1:
        raise UserError(f"decay is {settings.decay}: expected above 0, up to 1")
    for name in ("learning_rate", "clip_norm"):
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise UserError(f"{name} is {value}: expected a number above 0")


def validation_scoring(model: Ranker, data: TimelineData, settings: Settings) -> Scoring:
    """Returns the scoring of the validation targets, two moments of each user at most."""
    return Scoring(
        model, data.batches("validation", max_history=settings.max_history, max_moments=2)
    )


def mean_auc(scoring: Scoring) -> float | None:
    """Returns the mean AUC of users, over all target groups; None without targets."""
    users = [ranking_metrics.per_user(scored) for scored in scoring.run().values()]
    values = [value for user in users for value in user.means["auc"] if value == value]
    return float(sum(values) / len(values)) if values else None


def _is_over(state: dict[str, Any], settings: Settings) -> bool:
    is_no_better = state["epoch"] - state["best_epoch"] >= settings.patience
    return is_no_better or state["epoch"] >= settings.epochs
