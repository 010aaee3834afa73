"""Measures trained models on held-out targets: `python -m atrank_tf.evaluate`."""
