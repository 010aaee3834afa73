"""Logs of behaviour in, ragged batches for training, evaluation and export out."""

import atrank_tf  # noqa: F401  (first: it keeps TensorFlow's start quiet)
from data_pipeline.dataset import TimelineData

__all__ = ["TimelineData"]
