"""The naive form: the same function, the same targets."""

from collections import Counter

import keras
import numpy as np

from atrank_tf import ATRank
from benchmarks.naive import NaiveATRank, naive_batches
from data_pipeline import TimelineData
from tests.atrank_tf.sizes import SMALL


def test_the_naive_form_is_the_same_function(movies: TimelineData) -> None:
    keras.utils.set_random_seed(1)
    naive = NaiveATRank(movies.schema, movies.catalog, form="paper", **SMALL)
    rows = 0
    for inputs, labels in naive_batches(movies, max_history=100, seed=1).take(3):
        assert len(labels) <= 32
        lengths = inputs["history"]["item"]["object"].row_lengths().numpy()
        assert len(set(lengths.tolist())) > 1  # Random lengths together: padding.
        expected = ATRank.call(naive, inputs, training=False)
        np.testing.assert_allclose(naive(inputs, training=True), expected, atol=1e-5)
        rows += len(labels)
    assert rows == 96


def test_the_naive_form_trains_on_the_same_targets(movies: TimelineData) -> None:
    counts: Counter[tuple[int, int]] = Counter()
    for inputs, labels in naive_batches(movies, max_history=100, seed=1):
        objects = inputs["candidates"]["item"].flat_values.numpy()
        positive = labels.numpy() > 0
        counts.update(zip(inputs["user"].numpy()[positive], objects[positive], strict=True))
    expected: Counter[tuple[int, int]] = Counter()
    for inputs, labels in movies.batches("train"):
        candidates = inputs["candidates"]["item"]
        users = inputs["user"].numpy()[candidates.value_rowids().numpy()]
        positive = labels.numpy() > 0
        expected.update(zip(users[positive], candidates.flat_values.numpy()[positive], strict=True))
    assert counts == expected
