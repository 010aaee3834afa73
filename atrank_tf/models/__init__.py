"""Ranking models: ATRank and its baselines; each encodes a history and scores candidates."""

# What compiled models refer to: Keras finds the classes of a saved one only once imported.
from atrank_tf import losses, metrics, optimizers  # noqa: F401
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
from atrank_tf.models.registry import model_class, model_names, register

__all__ = [
    "BPR",
    "BST",
    "CNN",
    "DIN",
    "ATRank",
    "BiLSTM",
    "LastFeature",
    "LastObject",
    "OwnHistory",
    "Popularity",
    "Ranker",
    "SASRec",
    "model_class",
    "model_names",
    "register",
]
