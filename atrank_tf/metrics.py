"""Keras metrics of flat labels and logits."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("atrank_tf")
class TargetCount(keras.metrics.Sum):
    """Counts the targets of an epoch: its positive labels.

    Args:
        name: Its name in logs.
        dtype: Of the count.

    Example:

    >>> metric = TargetCount()
    >>> metric.update_state(y_true=[1.0, 0.0, 1.0], y_pred=[2.0, -1.0, 0.5])
    >>> float(metric.result())
    2.0
    """

    def __init__(self, name: str = "targets", dtype: Any = "float32") -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds the number of positive labels."""
        super().update_state(y_true)
