"""Latent-space attention: weights that average values, of what came before alone."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import LatentAttention
from data_pipeline import ragged
from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import BOUNDS, QUERY_TIMES, TIMES, attend, vectors

LAYERS: Layers = {
    "attention": (lambda: LatentAttention(16, 4), lambda layer: attend(layer), [3, 16]),
    "bilinear": (
        lambda: LatentAttention(16, 4, scores="bilinear"),
        lambda layer: attend(layer),
        [3, 16],
    ),
    "causal attention": (
        lambda: LatentAttention(16, 4, BOUNDS),
        lambda layer: attend(layer, QUERY_TIMES, TIMES),
        [3, 16],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


@pytest.mark.parametrize("name", ["attention"])
def test_no_input_at_all(name: str) -> None:
    layer = LAYERS[name][0]()
    output = layer(vectors([]), layer.keys_values(vectors([])))
    assert output.shape[0] == 0


def test_a_query_without_behaviors_gets_zeros() -> None:
    layer = LatentAttention(16, 4)
    output = layer(vectors([1, 2]), layer.keys_values(vectors([0, 3])))
    assert not output.numpy()[0].any()
    assert output.numpy()[1:].any()


def test_a_query_that_nothing_came_before_gets_zeros() -> None:
    layer = LatentAttention(16, 4, BOUNDS)
    keys_values = layer.keys_values(vectors([2, 1]))
    times = ragged.like(keys_values, tf.constant([7, 8, 9], tf.int64))
    output = layer(
        vectors([2, 1]), keys_values, tf.constant([[7, 8], [8, 0]], tf.int64), times
    ).numpy()
    assert not output[0].any()  # An event of the same instant is not visible, either.
    assert not output[2].any()
    np.testing.assert_allclose(output[1], keys_values.flat_values[0, 16:], atol=1e-6)


@pytest.mark.parametrize("scores", ["scaled_dot", "bilinear"])
def test_weights_are_those_that_average_the_values(scores: str) -> None:
    layer = LatentAttention(16, 4, BOUNDS, scores)
    queries, behaviors = vectors([2, 1, 0]), vectors([3, 0, 2])
    keys_values = layer.keys_values(behaviors)
    query_times = tf.constant([[9, 2], [9, 0], [0, 0]], tf.int64)
    times = ragged.from_row_lengths(tf.constant([1, 5, 9, 3, 4], tf.int64), [3, 0, 2])
    weights = layer.attention_weights(queries, keys_values, query_times, times).numpy()
    assert weights.shape == (4, 3, 2, 3)
    visible = np.zeros((3, 2, 3), bool)
    visible[0] = [[True, True, False], [True, False, False]]  # Strictly before.
    assert ((weights > 0) == visible).all()
    np.testing.assert_allclose(
        weights.sum(-1), np.broadcast_to(visible.any(-1), (4, 3, 2)), atol=1e-6
    )
    values = keys_values[0].numpy()[:, 16:].reshape(3, 4, 4)
    context = np.einsum("kqt,tkd->qkd", weights[:, 0], values).reshape(2, 16)
    output = layer(queries, keys_values, query_times, times).numpy()
    np.testing.assert_allclose(output[:2], context, atol=1e-5)
    assert (output[2] == 0).all()


def test_width_must_be_a_multiple_of_the_spaces() -> None:
    with pytest.raises(ValueError, match=r"width \(16\) must be a multiple of num_spaces \(5\)"):
        LatentAttention(16, 5)
