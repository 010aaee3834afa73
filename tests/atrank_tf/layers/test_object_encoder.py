"""The object encoder: ids and side features."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import ROWS, object_encoder

LAYERS: Layers = {"objects": (object_encoder, lambda layer: layer(ROWS.flat_values), [5, 8])}


@pytest.mark.parametrize("name", ["objects"])
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


@pytest.mark.parametrize("name", ["objects"])
def test_no_input_at_all(name: str) -> None:
    layer = LAYERS[name][0]()
    output = layer(ROWS[:0].flat_values)
    assert output.shape[0] == 0


def test_mean_of_the_values_of_a_feature() -> None:
    encoder = object_encoder()
    encoder.network.kernel.assign(np.eye(16, 8, -8))  # Passes on color and tag.
    encoder.network.bias.assign(np.zeros(8))
    tags = encoder(tf.constant([1, 3], tf.int64)).numpy()[:, 4:]
    table = encoder.tables["tag"].table.numpy()
    np.testing.assert_allclose(tags[0], (table[1] + table[2]) / 2, atol=1e-6)
    np.testing.assert_array_equal(tags[1], np.zeros(4))
