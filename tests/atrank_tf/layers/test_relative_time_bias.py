"""The relative time bias, spelled out, and its gradients."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import Recency, RelativeTimeBias
from tests.atrank_tf.layers.checks import Layers, check_layer
from tests.atrank_tf.layers.inputs import BOUNDS, QUERY_TIMES, TIMES

LAYERS: Layers = {
    "time bias": (
        lambda: RelativeTimeBias(4, BOUNDS),
        lambda layer: layer(QUERY_TIMES, TIMES.to_tensor()),
        [4, 3, 2, 3],
    )
}


@pytest.mark.parametrize("name", ["time bias"])
def test_layer(name: str, tmp_path: Path) -> None:
    check_layer(*LAYERS[name], tmp_path)


def test_a_bias_for_each_space_and_bucket() -> None:
    layer = RelativeTimeBias(num_spaces=2, time_bounds=[10, 20])
    layer.time.assign([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    order = np.arange(10.0, 90.0, 10.0)  # Of the last behavior, the one before it ...
    layer.order.assign([order, 10 * order])
    padding = tf.int64.max
    times = tf.constant([[90, 99, 80, 0, 80, 100, 101, padding]], tf.int64)
    bias = layer(tf.constant([[100, 90]], tf.int64), times).numpy()
    seen = np.array([[2, 1, 3, 3, 3], [5, 4, 6, 6, 6]])
    # Of one instant all are as far, whatever their order in the row: four and four, then five.
    order_gaps = np.array([2, 1, 4, 5, 4]) - 1
    bucket = np.array([0, 1, 2, 3, 3])[order_gaps]
    np.testing.assert_array_equal(bias[0, 0, 0, :5], seen[0] + order[bucket])
    np.testing.assert_array_equal(bias[1, 0, 0, :5], seen[1] + 10 * order[bucket])
    # The second query does not see the first two.
    np.testing.assert_array_equal(bias[0, 0, 1, 2:5], [2 + 20, 3 + 30, 2 + 20])
    assert (bias[:, 0, 0, 5:] < -1e8).all()
    assert (bias[:, 0, 1, [0, 1, 5, 6, 7]] < -1e8).all()


def test_gradients_of_the_biases() -> None:
    layer = RelativeTimeBias(num_spaces=2, time_bounds=[10, 20])
    random = np.random.default_rng(0)
    query_times = tf.constant(random.integers(0, 60, (3, 4)))
    times = random.integers(0, 60, (3, 50))
    times[1, 30:] = tf.int64.max  # Padding.
    factors = random.normal(size=(2, 3, 4, 50))
    is_visible = layer(query_times, times).numpy() > -1e8
    assert not is_visible[:, 1, :, 30:].any()

    @tf.function
    def total() -> tf.Tensor:
        return tf.reduce_sum(tf.where(is_visible, layer(query_times, times) * factors, 0.0))

    with tf.GradientTape() as tape:
        loss = total()
    weights = [layer.time, layer.order]
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        for index in np.ndindex(*weight.shape):  # Linear in each: a step of any size will do.
            weight.assign(np.eye(weight.shape[1])[[index[1]] * 2] * np.eye(2)[:, [index[0]]])
            assert float(total()) == pytest.approx(float(gradient[index]), abs=1e-4)
            weight.assign(np.zeros(weight.shape))


def test_sums_of_gradients_are_exact_in_mixed_precision() -> None:
    layers = [
        RelativeTimeBias(1, [10, 20], dtype=policy) for policy in ("mixed_bfloat16", "float32")
    ]
    query_times, times = tf.constant([[3000]], tf.int64), tf.constant([[0] * 300], tf.int64)
    gradients = []
    for layer in layers:
        with tf.GradientTape() as tape:
            bias = layer(query_times, times)
            assert bias.dtype == layer.compute_dtype
            loss = tf.reduce_sum(tf.cast(bias, tf.float32))
        gradients.append(tape.gradient(loss, [layer.time, layer.order]))
    # 300 is no number of bfloat16's.
    np.testing.assert_array_equal(gradients[0][0], [[0, 0, 300]])
    for gradient, expected in zip(*gradients, strict=True):
        np.testing.assert_array_equal(gradient, expected)


def test_bounds_ascend() -> None:
    for bounds in ([0, 4], [1, 4], [4, 4], [9, 4]):
        with pytest.raises(ValueError, match=r"time_bounds is \[.*expected to ascend, from 2 on"):
            RelativeTimeBias(2, bounds)
        with pytest.raises(ValueError, match=r"time_bounds is \[.*expected to ascend, from 2 on"):
            Recency(2, bounds)
