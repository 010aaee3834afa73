"""RowSparse against Keras' optimizers where both mean the same, and where they must differ."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import SGD, Adam, RowSparse, RowwiseAdagrad
from atrank_tf.layers import EmbeddingTable


def sparse(rows: list[int], values: list[list[float]], num_rows: int = 6) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([num_rows, 2]))


def variables() -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=shape), dtype="float32") for shape in ([6, 2], [3])]


def test_dense_steps_are_adams() -> None:
    weights, expected = variables(), variables()
    optimizer, adam = RowSparse(0.1), keras.optimizers.Adam(0.1)
    random = np.random.default_rng(1)
    for _ in range(5):
        gradients = [tf.constant(random.normal(size=v.shape), tf.float32) for v in weights]
        optimizer.apply(gradients, weights)
        adam.apply(gradients, expected)
    for weight, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), wanted.numpy(), rtol=1e-5)


def test_rows_touched_at_every_step_get_adams_step() -> None:
    (table, _), (expected, _) = variables(), variables()
    optimizer, adam = RowSparse(0.1), keras.optimizers.Adam(0.1)
    for step in range(4):
        values = np.full([3, 2], 1.0 + step, np.float32)
        values[2] = -0.5
        gradient = sparse([4, 1, 4], values.tolist())  # Row 4 twice: the sum counts.
        optimizer.apply([gradient], [table])
        adam.apply([tf.convert_to_tensor(gradient)], [expected])
    np.testing.assert_allclose(table.numpy(), expected.numpy(), rtol=1e-5)


def test_rows_not_touched_stay_as_they_are() -> None:
    (table, _) = variables()
    optimizer = RowSparse(0.1)
    optimizer.apply([sparse([2], [[1.0, 1.0]])], [table])
    before = table.numpy()
    optimizer.apply([sparse([5], [[1.0, -1.0]])], [table])
    np.testing.assert_array_equal(table.numpy()[:5], before[:5])
    assert (table.numpy()[5] != before[5]).all()


def test_sgd_is_kerass() -> None:
    weights, expected = variables(), variables()
    optimizer, sgd = RowSparse(0.1, rest=SGD()), keras.optimizers.SGD(0.1)
    gradients = [sparse([4, 4], [[1.0, 2.0], [0.5, 0.0]]), tf.constant([8.0, 0.0, 1.0])]
    for _ in range(2):
        optimizer.apply(gradients, weights)
        sgd.apply([tf.convert_to_tensor(g) for g in gradients], expected)
    for weight, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), wanted.numpy(), rtol=1e-6)


def test_rowwise_adagrad_is_its_equation() -> None:
    table = EmbeddingTable(4, 2).table
    before = table.numpy()
    optimizer = RowSparse(0.1, tables=RowwiseAdagrad(multiplier=2.0, epsilon=0.5))
    optimizer.apply([sparse([1, 1, 3], [[1.0, 2.0], [2.0, 2.0], [0.0, 1.0]], 4)], [table])
    optimizer.apply([sparse([1], [[1.0, 0.0]], 4)], [table])
    expected = before.copy()
    expected[1] -= 0.2 * np.array([3.0, 4.0]) / (np.sqrt(12.5) + 0.5)
    expected[3] -= 0.2 * np.array([0.0, 1.0]) / (np.sqrt(0.5) + 0.5)
    expected[1] -= 0.2 * np.array([1.0, 0.0]) / (np.sqrt(12.5 + 0.5) + 0.5)
    np.testing.assert_allclose(table.numpy(), expected, rtol=1e-5)


def test_tables_and_the_rest_have_rules_and_state_of_their_own() -> None:
    table = EmbeddingTable(50, 8).table
    kernel = keras.Variable(np.zeros([8, 3]), dtype="float32")
    optimizer = RowSparse(0.1, tables=RowwiseAdagrad(), rest=Adam())
    own = len(optimizer.variables)
    optimizer.build([table, kernel])
    shapes = [tuple(v.shape) for v in optimizer.variables[own:]]
    assert shapes == [(50, 1), (8, 3), (8, 3)]


def test_an_empty_gradient_changes_nothing() -> None:
    (table, _) = variables()
    before = table.numpy()
    gradient = tf.IndexedSlices(tf.zeros([0, 2]), tf.zeros([0], tf.int32), tf.constant([6, 2]))
    RowSparse(0.1, clip_norm=1.0).apply([gradient], [table])
    np.testing.assert_array_equal(table.numpy(), before)


def test_clipping_sees_the_norm_of_all_gradients_with_repeated_rows_summed() -> None:
    clipped, scaled = variables(), variables()
    optimizer = RowSparse(
        0.1, rest=Adam(epsilon=1.0), clip_norm=5.0
    )  # A large epsilon lets sizes matter.
    optimizer.apply(
        [sparse([1, 1], [[2.0, 0.0], [4.0, 0.0]]), tf.constant([8.0, 0.0, 0.0])], clipped
    )
    plain = RowSparse(0.1, rest=Adam(epsilon=1.0))
    plain.apply([sparse([1], [[3.0, 0.0]]), tf.constant([4.0, 0.0, 0.0])], scaled)
    for weight, wanted in zip(clipped, scaled, strict=True):
        np.testing.assert_allclose(weight.numpy(), wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize("rule", [Adam(), RowwiseAdagrad(), SGD()])
def test_a_step_traces_no_operation_of_the_tables_size(rule: Any) -> None:
    table = EmbeddingTable(5_000, 4)
    optimizer = RowSparse(0.1, tables=rule, clip_norm=5.0)
    optimizer.build(table.trainable_variables)

    @tf.function
    def step(rows: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(table(rows)))
        optimizer.apply(tape.gradient(loss, [table.table.value]), [table.table])

    graph = step.get_concrete_function(tf.TensorSpec([3], tf.int64)).graph
    sizes = [
        output.shape.num_elements() or 0
        for operation in graph.get_operations()
        for output in operation.outputs
        if output.dtype != tf.resource
    ]
    assert max(sizes) < 5_000


def test_state_is_saved_and_serialised(tmp_path: Path) -> None:
    inputs = keras.Input([], dtype="int64")
    outputs = keras.layers.Dense(1)(EmbeddingTable(5, 4)(inputs))
    model = keras.Model(inputs, outputs)
    tables = RowwiseAdagrad(multiplier=3.0)
    model.compile(RowSparse(0.05, tables, Adam(beta_1=0.8), clip_norm=2.0), "mse")
    x, y = np.array([1, 3, 1, 4]), np.zeros([4, 1])
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.tables == tables
    for trained in (model, loaded):
        trained.fit(x, y, epochs=1, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_schedule_is_followed() -> None:
    (table, _) = variables()
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.0])
    optimizer = RowSparse(schedule)
    optimizer.apply([sparse([2], [[1.0, 1.0]])], [table])
    before = table.numpy()
    optimizer.apply([sparse([2], [[1.0, 1.0]])], [table])
    np.testing.assert_array_equal(table.numpy(), before)
    assert float(optimizer.learning_rate) == pytest.approx(0.0)
