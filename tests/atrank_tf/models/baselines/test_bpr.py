"""BPR: scores that can be computed by hand, and where its training starts."""

import numpy as np

from atrank_tf import BPR
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import make_batch
from tests.atrank_tf.models.baselines.examples import EXAMPLES


def test_bpr_scores_by_dot_products(data: TimelineData) -> None:
    model = BPR(data.schema, data.catalog, width=8)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    scores = model(make_batch(EXAMPLES, data.schema)).numpy()
    users = model.users.table.numpy()

    def expected(user: int, target: str, index: int) -> float:
        embedding = data.catalog[target]["embedding_indices"][index]
        factors = model.objects[target].table.numpy()[embedding]
        return users[user] @ factors + model.biases[target].table.numpy()[embedding, 0]

    by_hand = [expected(2, "item", index) for index in (0, 3, 9)]
    by_hand += [expected(5, "item", 3), expected(2, "query", 1)]
    np.testing.assert_allclose(scores, by_hand, rtol=1e-5)


def test_biases_of_bpr_start_at_popularity(data: TimelineData) -> None:
    biases = BPR(data.schema, data.catalog).biases["query"].table.numpy()[:, 0]
    queries = data.catalog["query"]
    by_object = biases[queries["embedding_indices"]]
    counts = queries["train_counts"] + 1.0
    np.testing.assert_allclose(by_object - by_object[0], np.log(counts / counts[0]), rtol=1e-5)


def test_factors_of_bpr_start_apart(data: TimelineData) -> None:
    model = BPR(data.schema, data.catalog)
    tables = [model.users, *model.objects.values()]
    first = {tuple(table.table.numpy()[0]) for table in tables}
    assert len(first) == len(tables) == 3


def test_users_unknown_to_bpr_share_an_index(data: TimelineData) -> None:
    model = BPR(data.schema, data.catalog, width=8)
    batch = make_batch([{**EXAMPLES[0], "user": 0}], data.schema)
    known = model(batch).numpy()
    del batch["user"]
    np.testing.assert_array_equal(model(batch).numpy(), known)
    batch["query_time"] = batch["candidates"]  # A query time for each candidate.
    np.testing.assert_array_equal(model(batch).numpy(), known)


def test_bpr_in_mixed_precision(data: TimelineData) -> None:
    exact, mixed = (
        BPR(data.schema, data.catalog, width=8, dtype=dtype)
        for dtype in ("float32", "mixed_bfloat16")
    )
    for copy, weight in zip(exact.weights, mixed.weights, strict=True):
        copy.assign(weight)
    batch = make_batch(EXAMPLES, data.schema)
    assert mixed.encode(batch["history"], batch["query_time"], batch["user"]).dtype == "bfloat16"
    assert mixed(batch).dtype == "float32"
    np.testing.assert_allclose(mixed(batch), exact(batch), atol=0.02)
