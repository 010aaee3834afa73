"""Negatives: each untouched object once, in a random order."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import ragged
from data_pipeline.batches import negatives


def rows_of(rows: list[list[int]]) -> tf.RaggedTensor:
    flat = tf.constant([value for row in rows for value in row], tf.int64)
    return ragged.from_row_lengths(flat, tf.constant([len(r) for r in rows], tf.int64))


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=5))
@settings(max_examples=50, deadline=None)
def test_distinct_objects(rows: list[list[int]]) -> None:
    assert negatives.distinct_objects(rows_of(rows)).to_list() == [sorted(set(r)) for r in rows]


def order(positions: Any, size: int, keys: Any) -> np.ndarray:
    """What stands at positions of orders, where each or all have one size and one key."""
    positions, sizes, keys = np.broadcast_arrays(positions, size, keys)
    return negatives.random_order(
        *(tf.constant(x, tf.int64) for x in (positions, sizes, keys))
    ).numpy()


@given(st.integers(1, 40), st.integers(0, 2**62))
@settings(max_examples=50, deadline=None)
def test_a_random_order_is_an_order(size: int, key: int) -> None:
    assert sorted(order(np.arange(size), size, key).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [2, 7, 30])
def test_every_number_is_as_likely_at_every_position(size: int) -> None:
    n = 20_000
    keys = negatives.random_numbers(tf.range(n, dtype=tf.int64)).numpy()
    for position in (0, size - 1):
        counts = np.bincount(order(position, size, keys), minlength=size)
        assert abs(counts - n / size).max() < 5 * np.sqrt(n / size)


def test_neighbours_in_an_order_are_unrelated() -> None:
    n = 50_000
    keys = negatives.random_numbers(tf.range(n, dtype=tf.int64)).numpy()
    steps = (order(1, 1000, keys) - order(0, 1000, keys)) % 1000
    counts = np.bincount(steps // 100, minlength=10)
    assert abs(counts - n / 10).max() < 5 * np.sqrt(n / 10)


@given(st.lists(st.sets(st.integers(0, 6)), min_size=1, max_size=4), st.data())
@settings(max_examples=50, deadline=None)
def test_every_untouched_object_is_drawn_once(touched: list[set[int]], draw: st.DataObject) -> None:
    pool = 8
    row = draw.draw(st.integers(0, len(touched) - 1))
    untouched = sorted(set(range(pool)) - touched[row])
    count = 2 * len(untouched)  # Twice as many as there are: each comes twice.
    drawn = (
        negatives.sample_untouched(
            negatives.untouched_bounds(rows_of([sorted(s) for s in touched])),
            pool,
            tf.fill([count], tf.constant(row, tf.int64)),
            tf.range(count, dtype=tf.int64),
            tf.fill([count], tf.constant(draw.draw(st.integers(0, 2**62)), tf.int64)),
        )
        .numpy()
        .tolist()
    )
    assert sorted(drawn[: len(untouched)]) == untouched
    assert sorted(drawn[len(untouched) :]) == untouched


def test_draws_are_uniform_and_unlike_each_other() -> None:
    n = 100_000
    draws = negatives.random_numbers(
        tf.constant(3, tf.int64), *(tf.constant(part) for part in divmod(np.arange(n), 100))
    ).numpy()
    assert draws.min() >= 0
    assert len(set(draws.tolist())) == n
    counts = np.bincount(draws % 10, minlength=10)
    assert abs(counts - n / 10).max() < 5 * np.sqrt(n / 10)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.02


def test_draws_depend_on_every_key() -> None:
    base = negatives.random_numbers(1, 2, 3).numpy()
    assert negatives.random_numbers(1, 2, 3).numpy() == base
    for keys in ((0, 2, 3), (1, 0, 3), (1, 2, 0), (2, 1, 3), (-1, 2, 3)):
        assert negatives.random_numbers(*keys).numpy() != base
