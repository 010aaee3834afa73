"""Makes the model of a run, compiled."""

import keras

from atrank_tf.losses import BPRLoss, HingeLoss, PairwiseLoss, PointwiseLoss
from atrank_tf.metrics import TargetCount
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.registry import make_model
from atrank_tf.optimizers import SGD, Adam, RowSparse, RowwiseAdagrad, Rule
from atrank_tf.train.settings import Settings
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.schema import Schema

_RULES: dict[str, type[Rule]] = {"adam": Adam, "adagrad": RowwiseAdagrad, "sgd": SGD}
_LOSSES: dict[str, type[keras.losses.Loss]] = {
    "pointwise": PointwiseLoss,
    "bpr": BPRLoss,
    "hinge": HingeLoss,
}


def has_lists(schema: Schema, target: str) -> bool:
    """Returns whether a target's candidates are of lists, which a loss by pairs compares within.

    Sampled negatives are of the list of their positive.

    Example:

    >>> has_lists(Schema((Group("item"),), ("item",)), "item")
    True
    """
    group = schema.target_group(target)
    return not group.impressions or "list" in schema.place_columns(group.name)


def build_model(data: TimelineData, settings: Settings, batches_an_epoch: int) -> Ranker:
    """Makes the model of a run, compiled.

    Args:
        data: Prepared data.
        settings: What `Settings.completed` returned.
        batches_an_epoch: In so many batches the learning rate falls by `settings.decay`.

    Raises:
        UserError: The model's settings do not fit.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = build_model(data, Settings(model="cnn").completed(), batches_an_epoch=10)
    >>> float(model.optimizer.learning_rate)
    0.002...
    """
    if issubclass(_LOSSES[settings.loss], PairwiseLoss):
        for target in data.schema.target_names:
            if not has_lists(data.schema, target):
                raise UserError(
                    f"loss {settings.loss!r} compares positives with the negatives of their list, "
                    f"but candidates of {target} were logged without one: name the column of lists "
                    "(impression_columns.list of the schema), or use 'pointwise'"
                )
    arguments = {**settings.model_settings, "dtype": settings.precision}
    model = make_model(settings.model, data.schema, data.catalog, **arguments)
    model.compile(
        optimizer=RowSparse(
            keras.optimizers.schedules.ExponentialDecay(
                settings.learning_rate, batches_an_epoch, settings.decay
            ),
            tables=_RULES[settings.tables](),
            rest=_RULES[settings.rest](),
            clip_norm=settings.clip_norm,
        ),
        loss=_LOSSES[settings.loss](),
        metrics=[TargetCount()],
    )
    if model.trainable_variables:  # A step that makes variables would be traced twice.
        model.optimizer.build(model.trainable_variables)
    return model
