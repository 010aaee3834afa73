"""Buckets of the gap: exact at every bound, and none falls off the end."""

import math

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from atrank_tf.layers.time_buckets import day_bounds, fine_bounds, time_bucket

DAY = 86_400


def bucket(gap: int, num_buckets: int = 13, units: int = DAY) -> int:
    return int(time_bucket(tf.constant(gap, tf.int64), day_bounds(num_buckets, units)))


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0, 0),
        (DAY - 1, 0),
        (DAY, 1),
        (2 * DAY - 1, 1),
        (2 * DAY, 2),
        (4 * DAY - 1, 2),
        (4 * DAY, 3),
        (2048 * DAY - 1, 11),
        (2048 * DAY, 12),
        (4096 * DAY, 12),
        (2**50, 12),
        (-5, 0),
    ],
)
def test_bounds(gap: int, expected: int) -> None:
    assert bucket(gap) == expected
    assert bucket(gap * 1000 + (999 if gap > 0 and gap % DAY else 0), units=DAY * 1000) == expected


@given(st.integers(1, 4000))
def test_logarithm_of_the_days(days: int) -> None:
    assert bucket(days * DAY) == min(12, 1 + math.floor(math.log2(days)))


@pytest.mark.parametrize("units", [1, 1000])
def test_fine_buckets_begin_at_seconds(units: int) -> None:
    bounds = fine_bounds(units * DAY)
    gaps = [0, units - 1, units, 4 * units - 1, 4 * units, 16 * units, DAY * units, 2**55]
    buckets = time_bucket(tf.constant(gaps, tf.int64), bounds).numpy().tolist()
    assert buckets == [0, 0, 0, 0, 1, 2, 8, 15]


def test_shape_is_kept() -> None:
    assert time_bucket(tf.zeros([2, 3], tf.int64), [1, 4]).shape == [2, 3]
