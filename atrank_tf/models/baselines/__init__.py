"""Baselines: models that ATRank is compared with, on the same batches and candidates."""

from atrank_tf.models.baselines.bilstm import BiLSTM
from atrank_tf.models.baselines.bpr import BPR
from atrank_tf.models.baselines.bst import BST
from atrank_tf.models.baselines.cnn import CNN
from atrank_tf.models.baselines.din import DIN
from atrank_tf.models.baselines.last_feature import LastFeature
from atrank_tf.models.baselines.last_object import LastObject
from atrank_tf.models.baselines.own_history import OwnHistory
from atrank_tf.models.baselines.popularity import Popularity
from atrank_tf.models.baselines.sasrec import SASRec

__all__ = [
    "BPR",
    "BST",
    "CNN",
    "DIN",
    "BiLSTM",
    "LastFeature",
    "LastObject",
    "OwnHistory",
    "Popularity",
    "SASRec",
]
