"""DIN against its equations in NumPy."""

import numpy as np
import pytest

from data_pipeline.dataset import TimelineData
from tests.atrank_tf.models.baselines.examples import EVENTS, example, logits, small_model, vectors


def test_din_scores_by_its_equations(data: TimelineData) -> None:
    model = small_model("din", data)
    keys, q, bias = vectors(model, EVENTS, 9)
    # W [q, k, q - k, q * k], with a part for q - k of 0: the others hold it.
    parts = [layer.kernel.numpy().T for layer in (model.of_query, model.of_key)]
    w = np.concatenate([*parts, np.zeros_like(parts[0]), model.of_product.numpy()], axis=1)
    interest = np.zeros_like(q)
    for k in keys:
        pair = w @ np.concatenate([q, k, q - k, q * k]) + model.of_query.bias.numpy()
        weight = np.maximum(pair, 0) @ model.weigh.kernel.numpy() + model.weigh.bias.numpy()
        interest += weight * k
    x = np.concatenate([interest, q])
    for i, layer in enumerate(model.mlp):
        x = x @ layer.kernel.numpy() + layer.bias.numpy()
        x = np.maximum(x, 0) if i < 2 else x
    (scores,) = logits(model, [example(EVENTS, [])])
    assert scores[1] == pytest.approx(x[0] + bias, rel=1e-4)
