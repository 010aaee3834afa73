"""The behavior encoder: objects, actions and times."""

from pathlib import Path

import numpy as np
import pytest

from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import HISTORY, QUERY_TIME, ROWS, behavior_encoder

LAYERS: Layers = {
    "behaviors": (behavior_encoder, lambda layer: layer(HISTORY, QUERY_TIME).flat_values, [5, 16])
}


@pytest.mark.parametrize("name", ["behaviors"])
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


@pytest.mark.parametrize("name", ["behaviors"])
def test_no_input_at_all(name: str) -> None:
    layer = LAYERS[name][0]()
    output = layer(dict.fromkeys(HISTORY, ROWS[:0]), QUERY_TIME[:0]).flat_values
    assert output.shape[0] == 0


def test_a_candidate_is_an_object_that_nothing_was_done_to() -> None:
    layer = behavior_encoder()
    expected = layer.project(layer.objects(ROWS.flat_values))
    np.testing.assert_array_equal(layer.candidates(ROWS).flat_values, expected)
