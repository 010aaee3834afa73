"""Negatives by popularity: each object as often as it has training events."""

import collections

import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import ragged
from data_pipeline.batches.popularity import sample_by_popularity, slot_bounds


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=7).flatmap(
        lambda counts: st.tuples(
            st.just(counts),
            st.lists(st.sets(st.integers(0, len(counts) - 1)), min_size=1, max_size=4),
        )
    )
)
@settings(max_examples=40, deadline=None)
def test_each_slot_is_drawn_once_and_none_of_what_is_excluded(
    drawn: tuple[list[int], list[set[int]]],
) -> None:
    counts, rows = drawn
    excluded = ragged.from_row_lengths(
        tf.constant([i for row in rows for i in sorted(row)], tf.int64),
        tf.constant([len(row) for row in rows], tf.int64),
    )
    bounds = slot_bounds(excluded, tf.constant(counts, tf.int64))
    for number, row in enumerate(rows):
        expected = {i: n for i, n in enumerate(counts) if n and i not in row}
        left = int(bounds.left[number])
        assert left == sum(expected.values())
        # A turn later the same: numbers are taken by their remainder.
        numbers = tf.range(left, 2 * left, dtype=tf.int64)
        objects = sample_by_popularity(
            bounds, tf.fill([left], tf.constant(number, tf.int64)), numbers
        )
        assert collections.Counter(objects.numpy().tolist()) == expected
