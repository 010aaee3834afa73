"""Ranking models; each is `encode` and `score`."""

from atrank_tf.models.atrank import ATRank
from atrank_tf.models.bpr import BPR
from atrank_tf.models.popularity import Popularity
from atrank_tf.models.ranker import Ranker

__all__ = ["BPR", "ATRank", "Popularity", "Ranker"]
