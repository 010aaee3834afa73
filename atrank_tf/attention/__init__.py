"""What a trained model attends to: `python -m atrank_tf.attention`."""
