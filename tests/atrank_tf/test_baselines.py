"""The baselines: the same two verbs, and scores that can be computed by hand."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf import BPR, BPRLoss, Popularity, RowSparse
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch

EXAMPLES: list[dict[str, Any]] = [
    {
        "user": 2,
        "query_time": QUERY_TIME,
        "history": {},
        "candidates": {"item": [0, 3, 9], "query": [1]},
    },
    {
        "user": 5,
        "query_time": QUERY_TIME,
        "history": {"item": [(3, 1, 5)]},
        "candidates": {"item": [3]},
    },
]


def test_popularity_scores_by_training_counts(data: TimelineData) -> None:
    found = Popularity(data.schema, data.catalog)(make_batch(EXAMPLES, data.schema)).numpy()
    items, queries = (data.catalog[name]["train_counts"] for name in ("item", "query"))
    expected = [items[0], items[3], items[9], items[3], queries[1]]
    np.testing.assert_allclose(np.expm1(found), expected, rtol=1e-5, atol=1e-5)


def test_bpr_scores_by_dot_products(data: TimelineData) -> None:
    model = BPR(data.schema, data.catalog, width=8)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    found = model(make_batch(EXAMPLES, data.schema)).numpy()
    users = model.users.table.numpy()

    def expected(user: int, target: str, row: int) -> float:
        place = data.catalog[target]["embedding_indices"][row]
        factors = model.objects[target].table.numpy()[place]
        return users[user] @ factors + model.biases[target].table.numpy()[place, 0]

    by_hand = [expected(2, "item", row) for row in (0, 3, 9)]
    by_hand += [expected(5, "item", 3), expected(2, "query", 1)]
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


def test_biases_of_bpr_start_at_popularity(data: TimelineData) -> None:
    biases = BPR(data.schema, data.catalog).biases["query"].table.numpy()[:, 0]
    queries = data.catalog["query"]
    found = biases[queries["embedding_indices"]]
    counts = queries["train_counts"] + 1.0
    np.testing.assert_allclose(found - found[0], np.log(counts / counts[0]), rtol=1e-5)


def test_factors_of_bpr_start_apart(data: TimelineData) -> None:
    model = BPR(data.schema, data.catalog)
    tables = [model.users, *model.objects.values()]
    first = {tuple(table.table.numpy()[0]) for table in tables}
    assert len(first) == len(tables) == 3


def test_users_unknown_to_bpr_share_a_row(data: TimelineData) -> None:
    model = BPR(data.schema, data.catalog, width=8)
    batch = make_batch([{**EXAMPLES[0], "user": 0}], data.schema)
    known = model(batch).numpy()
    del batch["user"]
    np.testing.assert_array_equal(model(batch).numpy(), known)
    batch["query_time"] = batch["candidates"]  # A moment for each candidate.
    np.testing.assert_array_equal(model(batch).numpy(), known)


def test_bpr_in_mixed_precision(data: TimelineData) -> None:
    exact, mixed = (
        BPR(data.schema, data.catalog, width=8, dtype=dtype)
        for dtype in ("float32", "mixed_bfloat16")
    )
    for mine, weight in zip(exact.weights, mixed.weights, strict=True):
        mine.assign(weight)
    batch = make_batch(EXAMPLES, data.schema)
    assert mixed.encode(batch["history"], batch["query_time"], batch["user"]).dtype == "bfloat16"
    assert mixed(batch).dtype == "float32"
    np.testing.assert_allclose(mixed(batch), exact(batch), atol=0.02)


@pytest.mark.parametrize("kind", [BPR, Popularity])
def test_baselines_are_keras_models(data: TimelineData, tmp_path: Path, kind: type) -> None:
    keras.utils.set_random_seed(1)
    model = kind(data.schema, data.catalog)
    model.compile(RowSparse(0.03), BPRLoss())
    if kind is BPR:
        losses = model.fit(data.batches("train", seed=1), epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
    test = data.batches("test", BatchOptions(num_negatives=5))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = model.predict(test, verbose=0)
    np.testing.assert_array_equal(loaded.predict(test, verbose=0), expected)
    assert loaded.get_config() == model.get_config()
