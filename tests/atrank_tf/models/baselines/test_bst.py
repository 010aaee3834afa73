"""BST against its equations in NumPy."""

import numpy as np
import pytest

from data_pipeline.dataset import TimelineData
from tests.atrank_tf.models.baselines.examples import (
    EVENTS,
    attend,
    example,
    logits,
    norm,
    small_model,
    vectors,
)


def test_bst_scores_by_its_equations(data: TimelineData) -> None:
    model = small_model("bst", data)
    tokens, q, bias = vectors(model, EVENTS, 9)
    x = np.concatenate([tokens, [q]])
    x = norm(x + attend(x, model.attention, np.ones([len(x), len(x)])), model.attention_norm)
    inner = x @ model.inner.kernel.numpy() + model.inner.bias.numpy()
    inner = np.where(inner > 0, inner, 0.2 * inner)
    y = x + inner @ model.outer.kernel.numpy() + model.outer.bias.numpy()
    y = norm(y, model.feed_forward_norm)
    z = np.concatenate([y[-1], y[:-1].mean(axis=0)])
    for i, layer in enumerate(model.mlp):
        z = z @ layer.kernel.numpy() + layer.bias.numpy()
        z = np.where(z > 0, z, 0.2 * z) if i < 2 else z
    (scores,) = logits(model, [example(EVENTS, [])])
    assert scores[1] == pytest.approx(z[0] + bias, rel=1e-4)
