"""ATRank for TensorFlow: attention-based modeling of heterogeneous user behavior."""

from typing import TYPE_CHECKING, Any

from data_pipeline.version import __version__

if TYPE_CHECKING:
    from atrank_tf.losses import BPRLoss, HingeLoss, PointwiseLoss
    from atrank_tf.metrics import TargetCount
    from atrank_tf.models.atrank import ATRank
    from atrank_tf.models.baselines import (
        BPR,
        BST,
        CNN,
        DIN,
        BiLSTM,
        LastFeature,
        LastObject,
        OwnHistory,
        Popularity,
        SASRec,
    )
    from atrank_tf.models.ranker import Ranker
    from atrank_tf.optimizers import SGD, Adam, RowSparse, RowwiseAdagrad
    from data_pipeline import (
        Columns,
        Feature,
        Group,
        Schema,
        Split,
        Target,
        UserError,
        Vocabulary,
    )

_MODULES = {
    "atrank_tf.losses": ("BPRLoss", "HingeLoss", "PointwiseLoss"),
    "atrank_tf.metrics": ("TargetCount",),
    "atrank_tf.models": (
        "ATRank",
        "BPR",
        "BST",
        "BiLSTM",
        "CNN",
        "DIN",
        "LastFeature",
        "LastObject",
        "OwnHistory",
        "Popularity",
        "Ranker",
        "SASRec",
    ),
    "atrank_tf.optimizers": ("SGD", "Adam", "RowSparse", "RowwiseAdagrad"),
    "data_pipeline": (
        "Columns",
        "Feature",
        "Group",
        "Schema",
        "Split",
        "Target",
        "UserError",
        "Vocabulary",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BPR",
    "BST",
    "CNN",
    "DIN",
    "SGD",
    "ATRank",
    "Adam",
    "BPRLoss",
    "BiLSTM",
    "Columns",
    "Feature",
    "Group",
    "HingeLoss",
    "LastFeature",
    "LastObject",
    "OwnHistory",
    "PointwiseLoss",
    "Popularity",
    "Ranker",
    "RowSparse",
    "RowwiseAdagrad",
    "SASRec",
    "Schema",
    "Split",
    "Target",
    "TargetCount",
    "UserError",
    "Vocabulary",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Imports what is asked for: models load TensorFlow, which a command makes quiet first."""
    import importlib

    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
