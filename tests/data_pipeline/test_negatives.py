"""Negatives: never touched, uniform, and the same for a moment however it is batched."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import negatives


def rows_of(rows: list[list[int]]) -> tf.RaggedTensor:
    flat = tf.constant([value for row in rows for value in row], tf.int64)
    return tf.RaggedTensor.from_row_lengths(flat, tf.constant([len(r) for r in rows], tf.int64))


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=5))
@settings(max_examples=50, deadline=None)
def test_distinct_objects(rows: list[list[int]]) -> None:
    assert negatives.distinct_objects(rows_of(rows)).to_list() == [sorted(set(r)) for r in rows]


@given(st.lists(st.sets(st.integers(0, 6)), min_size=1, max_size=4), st.data())
@settings(max_examples=50, deadline=None)
def test_every_untouched_object_is_drawn_for_one_rank(
    touched: list[set[int]], draw: st.DataObject
) -> None:
    pool = 8
    row = draw.draw(st.integers(0, len(touched) - 1))
    untouched = sorted(set(range(pool)) - touched[row])
    found = negatives.sample_untouched(
        rows_of([sorted(s) for s in touched]),
        pool,
        tf.fill([len(untouched)], tf.constant(row, tf.int64)),
        tf.range(len(untouched), dtype=tf.int64),
    )
    assert found.numpy().tolist() == untouched


def test_draws_are_uniform_and_unlike_each_other() -> None:
    n = 100_000
    draws = negatives.hashed_draws(
        tf.constant(3, tf.int64), tf.range(n, dtype=tf.int64) // 100, tf.range(n) % 100
    ).numpy()
    assert draws.min() >= 0
    assert len(set(draws.tolist())) == n
    counts = np.bincount(draws % 10, minlength=10)
    assert abs(counts - n / 10).max() < 5 * np.sqrt(n / 10)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.02


def test_draws_hang_on_every_key() -> None:
    base = negatives.hashed_draws(1, 2, 3).numpy()
    assert negatives.hashed_draws(1, 2, 3).numpy() == base
    for keys in ((0, 2, 3), (1, 0, 3), (1, 2, 0), (2, 1, 3), (-1, 2, 3)):
        assert negatives.hashed_draws(*keys).numpy() != base
