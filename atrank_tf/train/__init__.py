"""Trains a model: `python -m atrank_tf.train`."""
