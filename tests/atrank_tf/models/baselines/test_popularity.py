"""Popularity: the counts of training."""

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import Popularity
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import make_batch
from tests.atrank_tf.models.baselines.examples import EXAMPLES


def test_popularity_scores_by_training_counts(data: TimelineData) -> None:
    scores = Popularity(data.schema, data.catalog)(make_batch(EXAMPLES, data.schema)).numpy()
    items, queries = (data.catalog[name]["train_counts"] for name in ("item", "query"))
    expected = [items[0], items[3], items[9], items[3], queries[1]]
    np.testing.assert_allclose(np.expm1(scores), expected, rtol=1e-5, atol=1e-5)


def test_mixed_policy_of_popularity(data: TimelineData) -> None:
    model = Popularity(data.schema, data.catalog, dtype="mixed_float16")
    inputs, _ = next(iter(data.batches("test")))
    assert model(inputs).dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"
