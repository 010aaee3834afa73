"""The CNN against its equations in NumPy."""

import numpy as np
import pytest

from data_pipeline.dataset import TimelineData
from tests.atrank_tf.models.baselines.examples import EVENTS, example, logits, small_model, vectors


def test_cnn_scores_by_its_equations(data: TimelineData) -> None:
    model = small_model("cnn", data)
    ordered = sorted(EVENTS, key=lambda event: event[2])
    tokens, q, bias = vectors(model, ordered, 9)
    pooled = []
    for layer in model.filters:
        kernel = layer.kernel.numpy()  # [window, width, filters]
        before = (len(kernel) - 1) // 2
        padded = np.pad(tokens, [[before, len(kernel) - 1 - before], [0, 0]])
        at = [
            np.einsum("wi,wio->o", padded[t : t + len(kernel)], kernel) + layer.bias.numpy()
            for t in range(len(tokens))
        ]
        pooled.append(np.maximum(at, 0).max(axis=0))
    e = np.concatenate(pooled) @ model.project.kernel.numpy() + model.project.bias.numpy()
    (scores,) = logits(model, [example(EVENTS, [])])
    assert scores[1] == pytest.approx(e @ q / np.sqrt(8) + bias, rel=1e-4)
