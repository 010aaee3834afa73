"""ATRank for TensorFlow: attention-based modelling of heterogeneous user behaviour."""

from atrank_tf import _quiet  # noqa: F401  (first: it keeps TensorFlow's start quiet)
from atrank_tf.errors import UserError
from atrank_tf.losses import BPRLoss, HingeLoss, PointwiseLoss
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
from atrank_tf.optimizers import SGD, Adam, RowSparse, RowwiseAdagrad
from atrank_tf.schema import Columns, Feature, Group, Schema, Split, Vocabulary

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
    "LastObject",
    "PointwiseLoss",
    "Popularity",
    "Ranker",
    "RowSparse",
    "RowwiseAdagrad",
    "SASRec",
    "Schema",
    "Split",
    "TargetCount",
    "UserError",
    "Vocabulary",
]
