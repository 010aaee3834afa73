"""Logs of behaviour in, ragged batches for training, evaluation and export out."""

from data_pipeline.dataset import TimelineData

__all__ = ["TimelineData"]
