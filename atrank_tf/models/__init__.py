"""Ranking models; each is `encode` and `score`."""

from atrank_tf.models.atrank import ATRank
from atrank_tf.models.bilstm import BiLSTM
from atrank_tf.models.bpr import BPR
from atrank_tf.models.bst import BST
from atrank_tf.models.cnn import CNN
from atrank_tf.models.din import DIN
from atrank_tf.models.last_object import LastObject
from atrank_tf.models.popularity import Popularity
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.sasrec import SASRec

__all__ = [
    "BPR",
    "BST",
    "CNN",
    "DIN",
    "ATRank",
    "BiLSTM",
    "LastObject",
    "Popularity",
    "Ranker",
    "SASRec",
]
