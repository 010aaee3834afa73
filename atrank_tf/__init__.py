"""ATRank for TensorFlow: attention-based modelling of heterogeneous user behaviour."""

import os

# Without it every command would begin with a screenful of TensorFlow's device probing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from atrank_tf.errors import UserError
from atrank_tf.losses import BPRLoss, PointwiseLoss
from atrank_tf.metrics import TargetCount
from atrank_tf.models import BPR, ATRank, Popularity, Ranker
from atrank_tf.optimizers import LazyAdam
from atrank_tf.schema import Columns, Feature, Group, Schema, Split, Vocabulary

__all__ = [
    "BPR",
    "ATRank",
    "BPRLoss",
    "Columns",
    "Feature",
    "Group",
    "LazyAdam",
    "PointwiseLoss",
    "Popularity",
    "Ranker",
    "Schema",
    "Split",
    "TargetCount",
    "UserError",
    "Vocabulary",
]
