"""The paper's experiments: `python -m atrank_tf.experiment`."""
