"""Sizes of models that are made fast: without look-ups, which have tests of their own."""

from typing import Any

SMALL: dict[str, Any] = {
    "width": 16,
    "num_spaces": 4,
    "embedding_width": 8,
    "feature_width": 4,
    "recurrence": False,
}
TINY: dict[str, Any] = {**SMALL, "width": 8, "num_spaces": 2}
