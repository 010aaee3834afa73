"""What holds for every baseline that reads histories."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import PointwiseLoss, Ranker, RowSparse
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch
from tests.atrank_tf.models.baselines.examples import (
    EVENTS,
    KINDS,
    QUERIES,
    example,
    logits,
    small_model,
)

ORDERED = ("bilstm", "bilstm_attention", "cnn", "sasrec")


@pytest.fixture(scope="module", params=list(KINDS))
def model(request: pytest.FixtureRequest, data: TimelineData) -> Ranker:
    return small_model(request.param, data)


def test_a_score_does_not_depend_on_the_rest_of_the_batch(model: Ranker) -> None:
    (alone,) = logits(model, [example(EVENTS)])
    (nothing,) = logits(model, [example([], [])])
    many = {**example(EVENTS * 5), "candidates": {"item": list(range(15))}}
    _, among, empty = logits(model, [many, example(EVENTS), example([], [])])
    np.testing.assert_allclose(among, alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(empty, nothing, rtol=1e-5, atol=1e-5)
    assert np.isfinite(nothing).all()
    assert np.abs(np.subtract(alone, nothing)).max() > 1e-3  # The history matters.


def test_a_score_does_not_depend_on_how_the_history_was_stored(model: Ranker) -> None:
    scores = logits(model, [example(EVENTS), example(EVENTS[::-1], QUERIES[::-1])])
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ORDERED)
def test_order_matters(data: TimelineData, name: str) -> None:
    days = 86_400
    events = [
        (3, 1, QUERY_TIME - 9 * days),
        (5, 1, QUERY_TIME - 10 * days),
    ]  # Of one bucket of the gap.
    swapped = [(5, 1, QUERY_TIME - 9 * days), (3, 1, QUERY_TIME - 10 * days)]
    scores = logits(small_model(name, data), [example(events, []), example(swapped, [])])
    assert np.abs(np.subtract(*scores)).max() > 1e-4


def test_gradients_are_finite(model: Ranker) -> None:
    batch = make_batch([example([], []), example(EVENTS)], model.schema)
    weights = [w.value for w in model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(batch, training=True)))
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)]
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.fixture(scope="module")
def batches(data: TimelineData) -> tf.data.Dataset:
    # Short histories: LSTMs read them step by step.
    options = BatchOptions(max_tokens=500, max_history=10)
    cached = data.batches("train", options, seed=1).take(2).cache()
    assert len(list(cached)) == 2
    return cached


@pytest.mark.slow
def test_it_learns_and_is_saved(model: Ranker, batches: tf.data.Dataset, tmp_path: Path) -> None:
    # To trace a step takes longer than the six that it is run for.
    model.compile(RowSparse(0.01, clip_norm=5.0), PointwiseLoss(), run_eagerly=True)
    losses = model.fit(batches, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(
        logits(loaded, [example(EVENTS)]), logits(model, [example(EVENTS)]), atol=1e-6
    )


@pytest.mark.parametrize("name", list(KINDS))
def test_the_verbs_in_mixed_precision(data: TimelineData, name: str) -> None:
    keras.utils.set_random_seed(1)
    mixed = KINDS[name](data.schema, data.catalog, dtype="mixed_bfloat16")
    exact = KINDS[name](data.schema, data.catalog)
    for copy, weight in zip(exact.weights, mixed.weights, strict=True):
        copy.assign(weight)
    expected = logits(exact, [example(EVENTS)])
    np.testing.assert_allclose(logits(mixed, [example(EVENTS)]), expected, atol=0.05)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("sasrec", {"num_heads": 3}, r"width \(8\) must be a multiple of num_heads \(3\)"),
        ("sasrec", {"num_blocks": 0}, "num_blocks is 0: expected 1 or more"),
        ("sasrec", {"dropout": 1.0}, "dropout is 1.0: expected 0 to below 1"),
        ("bst", {"num_heads": 0}, r"must be a multiple of num_heads \(0\)"),
        ("bst", {"dropout": -0.1}, "dropout is -0.1: expected 0 to below 1"),
    ],
)
def test_arguments_out_of_range(
    data: TimelineData, name: str, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        KINDS[name](data.schema, data.catalog, **given)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "sasrec"])
def test_a_state_of_one_query_time_asks_for_one(data: TimelineData, name: str) -> None:
    batch = make_batch([example(EVENTS)], data.schema)
    with pytest.raises(ValueError, match="needs one query time a row"):
        KINDS[name](data.schema).encode(batch["history"], batch["candidates"])
