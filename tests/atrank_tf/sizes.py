"""Sizes of models that are made fast."""

SMALL = {"width": 16, "num_spaces": 4, "embedding_width": 8, "feature_width": 4}
TINY = {"width": 8, "num_spaces": 2, "embedding_width": 8, "feature_width": 4}
