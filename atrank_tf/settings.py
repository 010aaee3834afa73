"""The settings of a training run, and what is made of them."""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection
from typing import Any

import keras

from atrank_tf.errors import UserError
from atrank_tf.losses import BPRLoss, HingeLoss, PairwiseLoss, PointwiseLoss
from atrank_tf.metrics import TargetCount
from atrank_tf.models import (
    BPR,
    BST,
    CNN,
    DIN,
    ATRank,
    BiLSTM,
    LastObject,
    Popularity,
    Ranker,
    SASRec,
)
from atrank_tf.optimizers import SGD, Adam, RowSparse, RowwiseAdagrad, Rule
from data_pipeline.dataset import TimelineData

MODELS: dict[str, Callable[..., Ranker]] = {
    "atrank": ATRank,
    "bilstm": BiLSTM,
    "bilstm_attention": functools.partial(BiLSTM, attention=True),
    "bpr": BPR,
    "bst": BST,
    "cnn": CNN,
    "din": DIN,
    "last_object": LastObject,
    "popularity": Popularity,
    "sasrec": SASRec,
}
# Those whose memory serves every moment, or can.
_EVERY_MOMENT = ("atrank", "bpr", "popularity", "sasrec")
TABLE_RULES: dict[str, type[Rule]] = {"adam": Adam, "adagrad": RowwiseAdagrad, "sgd": SGD}
REST_RULES: dict[str, type[Rule]] = {"adam": Adam, "sgd": SGD}
PRECISIONS = ("float32", "mixed_bfloat16")
LOSSES: dict[str, type[keras.losses.Loss]] = {
    "pointwise": PointwiseLoss,
    "bpr": BPRLoss,
    "hinge": HingeLoss,
}
TRAININGS = ("auto", "all_positions", "moments")
_BY_TRAINING: dict[str, dict[str, Any]] = {
    "all_positions": {"learning_rate": 0.004, "token_budget": 3072},
    "moments": {"learning_rate": 0.002, "token_budget": 8192},
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training run.

    Attributes:
        model: A key of `MODELS`.
        model_settings: Arguments of its constructor that differ from the defaults.
        training: "all_positions": one encoding of a stretch of a timeline trains all its
            targets (atrank takes its causal form); "moments": a history is encoded for
            each moment at which there are targets (atrank takes the paper's form); "auto":
            the first for the models that can, unless there are `max_moments`, the second for
            the others.
        groups: Names of the groups that are read; [] for all.
        targets: Names of the target groups that are predicted; [] for all that are read. With one
            group and one target this is the paper's one2one, with one target its all2one,
            with all of both its all2all.
        single_target: Whether the candidates of a training batch are all of one target group,
            as in the paper's all2all.
        target_weights: Weight in the loss of each target group; 1 where it is not named. It
            shifts the weights that targets share; steps of Adam and Adagrad on those that one
            target alone has do not depend on a constant factor, but 0.
        loss: A key of `LOSSES`, or "auto": "bpr" for the model bpr, "pointwise" for the others.
            The pair-wise ones compare a positive with its sampled negatives, and are not for
            candidates that were logged with their labels.
        epochs: Epochs at most.
        patience: Epochs without a better validation AUC after which training stops.
        max_seconds: Seconds of training after which it stops, validation not counted; 0 for
            no bound. A run that is bounded so does not end bit for bit alike.
        learning_rate: Of the optimiser, at the start; None for .004 where all positions are
            trained and .002 for moments, each the best of those tried with ATRank.
        decay: What the learning rate is multiplied with in each epoch, bit by bit; 1 for a
            rate that stays.
        tables: A key of `TABLE_RULES`: the optimiser's rule of embedding tables.
        rest: A key of `REST_RULES`: its rule of all other weights.
        clip_norm: Bound on the global norm of the gradients.
        token_budget: Behaviours and candidates in a batch, about; None for 3,072 where all
            positions are trained and 8,192 for moments, which have fewer targets for them.
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
    training: str = "auto"
    groups: list[str] = dataclasses.field(default_factory=list)
    targets: list[str] = dataclasses.field(default_factory=list)
    single_target: bool = False
    target_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    loss: str = "auto"
    epochs: int = 16
    patience: int = 4
    max_seconds: float = 0.0
    learning_rate: float | None = None
    decay: float = 0.9
    tables: str = "adam"
    rest: str = "adam"
    clip_norm: float = 5.0
    token_budget: int | None = None
    max_history: int = 100
    max_moments: int = 0
    num_negatives: int = 1
    precision: str = "float32"
    seed: int = 1

    def checked(self) -> "Settings":
        """Returns the settings with "auto" and None resolved.

        Raises:
            UserError: A setting is out of range.
        """
        choices: dict[str, Collection[str]] = {
            "model": MODELS,
            "training": TRAININGS,
            "loss": ("auto", *LOSSES),
            "tables": TABLE_RULES,
            "rest": REST_RULES,
            "precision": PRECISIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                expected = ", ".join(known)
                raise UserError(f"{name} {getattr(self, name)!r}: expected one of {expected}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed is {self.seed}: expected 0 to {2**32 - 1}")
        if self.max_moments < 0:
            raise UserError(f"max_moments is {self.max_moments}: expected 0 (all) or more")
        if self.max_moments and self.training == "all_positions":
            raise UserError("max_moments: only for training='moments'; all_positions has stretches")
        if not 0 <= self.max_seconds < math.inf:
            raise UserError(f"max_seconds is {self.max_seconds}: expected 0 (no bound) or more")
        if not 0 < self.decay <= 1:
            raise UserError(f"decay is {self.decay}: expected above 0, up to 1")
        can_all = self.model in _EVERY_MOMENT
        if self.training == "all_positions" and not can_all:
            raise UserError(f"training='all_positions': not for {self.model}, use 'moments'")
        training, loss = self.training, self.loss
        if training == "auto":
            training = "all_positions" if can_all and not self.max_moments else "moments"
        if loss == "auto":
            loss = "bpr" if self.model == "bpr" else "pointwise"
        given = {name: value for name, value in vars(self).items() if value is not None}
        settings = Settings(
            **{**_BY_TRAINING[training], **given, "training": training, "loss": loss}
        )
        for name in ("epochs", "patience", "token_budget", "max_history", "num_negatives"):
            value = getattr(settings, name)
            if value < 1:
                raise UserError(f"{name} is {value}: expected 1 or more")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(settings, name)
            if not 0 < value < math.inf:
                raise UserError(f"{name} is {value}: expected a number above 0")
        return settings

    def cut(self) -> dict[str, Any]:
        """Returns the options of `TimelineData.batches` for training."""
        return {
            "num_negatives": self.num_negatives,
            "max_history": self.max_history,
            "token_budget": self.token_budget,
            "max_moments": self.max_moments or None,
            "all_positions": self.training == "all_positions",
            "single_target": self.single_target,
            "target_weights": self.target_weights or None,
        }


def new_model(data: TimelineData, settings: Settings, batches_an_epoch: int) -> Ranker:
    """Makes the model of a run, compiled.

    Args:
        data: Prepared data.
        settings: What `Settings.checked` returned.
        batches_an_epoch: Over which the learning rate falls by `settings.decay`.

    Raises:
        UserError: The model's settings do not fit.
    """
    arguments = {**settings.model_settings, "dtype": settings.precision}
    if settings.model == "atrank":
        if "causal" in arguments:
            raise UserError("model_settings: causal follows from training")
        arguments["causal"] = settings.training == "all_positions"
    if issubclass(LOSSES[settings.loss], PairwiseLoss):
        for target in data.schema.targets:
            if data.schema.group(target).impressions:
                raise UserError(
                    f"loss {settings.loss!r} compares a positive with its sampled negatives, but "
                    f"candidates of {target} were logged with labels: use 'pointwise'"
                )
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
        loss=LOSSES[settings.loss](),
        metrics=[TargetCount()],
    )
    if model.trainable_variables:  # A step that makes variables would be traced twice.
        model.optimizer.build(model.trainable_variables)
    return model
