"""The settings of a training run: what a run's `settings.json` holds, and `--config` takes."""

from typing import Annotated, Any, Literal

from pydantic import Field

from atrank_tf.models import registry
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.core.options import Options

_LEARNING_RATES = {"windows": 0.004, "queries": 0.002}


class DataSettings(Options):
    """Data: what is read and what is predicted.

    Example:

    >>> DataSettings(targets=["item"])  # All groups are read and one is predicted: all2one.
    DataSettings(groups=[], targets=['item'])
    """

    groups: list[str] = Field(default_factory=list)
    """Groups that are read; all by default."""

    targets: list[str] = Field(default_factory=list)
    """Target groups that are predicted; by default all that are read. One group and one target is
    the paper's one2one, one target its all2one, all of both its all2all."""


class ModelSettings(Options):
    """Model: which one, and its arguments.

    Example:

    >>> ModelSettings(model_settings={"num_spaces": 8}).precision
    'float32'
    """

    model: str = "atrank"
    """Which model: atrank or a baseline, by its name in the registry."""

    model_settings: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the model's constructor that differ from the defaults."""

    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """float32, or mixed_bfloat16 for accelerators. That keeps weights in float32."""


class OptimizationSettings(Options):
    """Optimization: the loss, the optimizer and when to stop.

    Example:

    >>> OptimizationSettings(tables="lamb")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: tables is 'lamb': expected one of adam, adagrad, sgd
    """

    loss: Literal["auto", "pointwise", "bpr", "hinge"] = "auto"
    """pointwise, bpr, hinge, or auto. auto: the one that the model
    states.
    The pair-wise ones compare a positive with its sampled negatives; candidates that were logged
    with their labels need lists for that."""

    epochs: Annotated[int, Field(ge=1)] = 16
    """Epochs at most."""

    patience: Annotated[int, Field(ge=1)] = 4
    """Epochs without a better validation AUC after which training stops."""

    max_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Seconds of training after which it stops; 0 for no bound. Validation is not counted. A run
    with such a bound does not end bit for bit alike."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate at the start: .004 on windows, .002 on queries. Each is the best of those tried
    with ATRank."""

    decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    """What the learning rate is multiplied with in each epoch; 1 to let it stay."""

    tables: Literal["adam", "adagrad", "sgd"] = "adam"
    """How embedding tables are updated: adam, adagrad or sgd. Adam keeps two numbers a weight,
    Adagrad one a row."""

    rest: Literal["adam", "sgd"] = "adam"
    """How all other weights are updated: adam or sgd."""

    clip_norm: Annotated[float, Field(gt=0)] = 5.0
    """Bound on the global norm of the gradients."""


class RunSettings(Options):
    """Run: where it is kept, and what makes it the same again.

    Example:

    >>> RunSettings(seed=2).to_dict()
    {'seed': 2}
    """

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    """Of initial weights, dropout, order and negatives."""


class Settings(RunSettings, OptimizationSettings, ModelSettings, BatchOptions, DataSettings):
    """Settings of a training run.

    Example:

    >>> settings = Settings(model="bpr").completed()
    >>> settings.loss, settings.rows, settings.learning_rate
    ('bpr', 'windows', 0.004)
    >>> Settings(epochs=0)
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: epochs is 0: expected 1 or more
    """

    def completed(self) -> "Settings":
        """Returns the settings with what is left open filled in, as the model wants it.

        Raises:
            UserError: There is no such model, or it cannot train like this.
        """
        registry.check_arguments(self.model, self.model_settings)
        can_train_on_windows = registry.trains_on_windows(self.model, self.model_settings)
        rows = self.rows
        if rows == "auto":
            rows = "windows" if can_train_on_windows and not self.max_queries else "queries"
        if rows == "windows" and not can_train_on_windows:
            raise UserError(
                f"rows is 'windows': the state of {self.model} is of one query time here, use "
                "'queries'"
            )
        loss = registry.model_class(self.model).default_loss if self.loss == "auto" else self.loss
        learning_rate = self.learning_rate or _LEARNING_RATES[rows]
        settings = self.replace(
            rows=rows,
            loss=loss,
            learning_rate=learning_rate,
            look_ups=registry.looks_up(self.model, self.model_settings),
        )
        return settings.resolved("train", settings.target_weights)
