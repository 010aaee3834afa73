"""Logs of behaviour in, ragged batches for training, evaluation and export out."""
