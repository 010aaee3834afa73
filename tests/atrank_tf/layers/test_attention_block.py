"""The attention block."""

from pathlib import Path

import pytest

from atrank_tf.layers import AttentionBlock
from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import BOUNDS, QUERY_TIMES, TIMES, attend, vectors

LAYERS: Layers = {
    "block": (
        lambda: AttentionBlock(16, 4, dropout=0.1),
        lambda layer: attend(layer).flat_values,
        [3, 16],
    ),
    "causal block": (
        lambda: AttentionBlock(16, 4, dropout=0.1, time_bounds=BOUNDS),
        lambda layer: attend(layer, QUERY_TIMES, TIMES).flat_values,
        [3, 16],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


@pytest.mark.parametrize("name", ["block"])
def test_no_input_at_all(name: str) -> None:
    layer = LAYERS[name][0]()
    output = layer(vectors([]), layer.keys_values(vectors([]))).flat_values
    assert output.shape[0] == 0
