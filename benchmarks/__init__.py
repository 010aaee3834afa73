"""Measures speed, and what others reach on the same data."""

import atrank_tf  # noqa: F401  (first: it keeps TensorFlow's start quiet)
