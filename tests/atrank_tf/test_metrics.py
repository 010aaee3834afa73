"""Metrics of training."""

import numpy as np

from atrank_tf import TargetCount

LABELS = np.array([1, 0, 0, 1, 0, 1], np.float32)
LOGITS = np.array([2.0, 1.0, -1.0, 0.5, 0.5, 30.0], np.float32)


def test_target_count_counts_positives() -> None:
    metric = TargetCount()
    metric.update_state(LABELS, LOGITS)
    metric.update_state(LABELS[:1], LOGITS[:1])
    assert float(metric.result()) == 4
