"""Ragged helpers against TensorFlow's own, slower ways."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import ragged


def batch(lengths: list[int], seed: int = 0) -> tf.RaggedTensor:
    values = np.random.default_rng(seed).normal(size=[sum(lengths), 3]).astype(np.float32)
    return ragged.from_row_lengths(values, np.array(lengths, np.int64))


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_concat_rows(lengths: list[list[int]]) -> None:
    batches = [batch(rows, seed) for seed, rows in enumerate(lengths)]
    weights = tf.reshape(tf.range(3.0 * sum(map(sum, lengths))), [-1, 3])
    results = []
    for concat in (ragged.concat_rows, lambda parts: tf.concat(parts, axis=1)):
        with tf.GradientTape() as tape:
            tape.watch([part.flat_values for part in batches])
            joined = concat(batches)
            loss = tf.reduce_sum(joined.flat_values * weights)
        results.append((joined, tape.gradient(loss, [part.flat_values for part in batches])))
    (joined_rows, gradients), (expected, expected_gradients) = results
    assert joined_rows.to_list() == expected.to_list()
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_array_equal(gradient, tf.convert_to_tensor(wanted))


@given(st.lists(st.integers(0, 5), max_size=5))
@settings(max_examples=30, deadline=None)
def test_unpad_undoes_pad(lengths: list[int]) -> None:
    rows = batch(lengths)
    padded = ragged.pad(rows)
    assert padded.shape == [len(lengths), max([1, *lengths]), 3]
    np.testing.assert_array_equal(ragged.unpad(padded, rows), rows.flat_values)
    is_padding = ~tf.sequence_mask(lengths, padded.shape[1]).numpy()
    assert not padded.numpy()[is_padding].any()


def test_gradients_of_padding_are_those_of_tensorflows_own_operations() -> None:
    lengths = [2, 0, 3, 1]
    weights = tf.random.stateless_normal([4, 5, 3], [1, 2])  # Wider than the longest row.

    def gradients(pad: Any, unpad: Any) -> list[np.ndarray]:
        values = tf.random.stateless_normal([6, 3], [3, 4])
        dense = tf.random.stateless_normal([4, 5, 3], [5, 6])
        with tf.GradientTape() as tape:
            tape.watch([values, dense])
            rows = ragged.from_row_lengths(values, lengths)
            loss = tf.reduce_sum(pad(rows) * weights[:, :3])
            loss += tf.reduce_sum(tf.sin(unpad(dense, rows)) * weights[0, :1])
        return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [values, dense])]

    own = gradients(ragged.pad, ragged.unpad)
    expected = gradients(
        lambda rows: rows.to_tensor(),
        lambda dense, rows: ragged.from_tensor(dense, rows.row_lengths()).flat_values,
    )
    for gradient, wanted in zip(own, expected, strict=True):
        assert wanted.any()
        np.testing.assert_allclose(gradient, wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("lengths", [[0, 2, 0, 0, 3, 1, 0], [4], [0, 0], []])
def test_row_ids(lengths: list[int], dtype: type) -> None:
    values = tf.zeros([sum(lengths), 3])
    rows = ragged.from_row_lengths(values, np.array(lengths, dtype))
    ids = ragged.row_ids(rows)
    assert ids.dtype == tf.int64
    assert ids.numpy().tolist() == rows.value_rowids().numpy().tolist()
    nested = ragged.from_row_lengths(rows, np.array([len(lengths)], dtype))
    assert ragged.row_ids(nested).numpy().tolist() == [0] * len(lengths)


def test_per_value() -> None:
    values = ragged.per_value(batch([2, 0, 1]), tf.constant([7, 8, 9]))
    assert values.numpy().tolist() == [7, 7, 9]
