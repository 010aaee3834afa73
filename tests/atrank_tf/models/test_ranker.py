"""What every model is: a Keras model of two verbs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import BPR, ATRank, BPRLoss, PointwiseLoss, Popularity, RowSparse, SASRec
from atrank_tf.models import registry
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch
from tests.atrank_tf.sizes import SMALL

EXAMPLE = {
    "user": 1,
    "query_time": QUERY_TIME,
    "history": {"item": [(3, 1, QUERY_TIME - 10), (5, 2, QUERY_TIME - 90_000)]},
    "candidates": {"item": [4, 9, 6]},
}


def test_xla_is_declined(data: TimelineData) -> None:
    model = ATRank(data.schema, data.catalog, **SMALL)
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile("sgd", PointwiseLoss(), jit_compile=True)
    assert model.jit_compile is False


@pytest.mark.parametrize("kind", [BPR, Popularity])
def test_baselines_are_keras_models(data: TimelineData, tmp_path: Path, kind: type) -> None:
    keras.utils.set_random_seed(1)
    model = kind(data.schema, data.catalog)
    # To trace a step takes longer than the three that it is run for.
    model.compile(RowSparse(0.03), BPRLoss(), run_eagerly=True)
    if kind is BPR:
        losses = model.fit(data.batches("train", seed=1), epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
    model.run_eagerly = False
    examples = [{**EXAMPLE, "user": user} for user in (1, 2, 3)]
    test = tf.data.Dataset.from_tensors((make_batch(examples, data.schema),))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = model.predict(test, verbose=0)
    assert expected.shape == (9,)
    np.testing.assert_array_equal(loaded.predict(test, verbose=0), expected)
    assert loaded.get_config() == model.get_config()


@pytest.fixture
def float64() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "causal": ("atrank", {"num_spaces": 2}),
    "causal-bilinear-mlp": ("atrank", {"scores": "bilinear", "downstream": "mlp"}),
    "paper": ("atrank", {"form": "paper", "l2": 0.1}),
    "paper-bilinear-mlp": (
        "atrank",
        {"form": "paper", "time": "concatenated", "scores": "bilinear", "downstream": "mlp"},
    ),
    **{
        name: (name, {})
        for name in registry.model_names()
        if name != "atrank" and registry.model_class(name).is_trained
    },
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", list(MODELS))
def test_models_of_double_precision_fit_and_are_saved(
    data: TimelineData, tmp_path: Path, name: str
) -> None:
    schema = data.schema.select(["item"], ["item"])
    kind, arguments = MODELS[name]
    model = registry.model_class(kind)(schema, {"item": data.catalog["item"]}, width=8, **arguments)
    batch = make_batch([EXAMPLE], schema)
    model.compile(RowSparse(0.01, clip_norm=1.0), PointwiseLoss(), run_eagerly=True)
    before = model(batch).numpy()
    assert np.isfinite(model.train_on_batch(batch, tf.constant([1.0, 0.0, 0.0])))
    scores = model(batch).numpy()
    assert np.isfinite(scores).all()
    assert (scores != before).all()
    user = batch["user"]
    state = model.encode(batch["history"], batch["query_time"], user)
    assert "float64" in {tensor.dtype.name for tensor in tf.nest.flatten(state)}
    # Biases of objects and of time are float32 in every precision, and so are logits.
    assert scores.dtype == np.float32
    for weight in model.trainable_weights:
        is_bias = weight.path.partition("/")[0] in ("item_bias", "relative_time_bias")
        assert weight.dtype == ("float32" if is_bias else "float64"), weight.path
    model.save(tmp_path / "model.keras")
    for policy in ("float64", "float32"):
        keras.config.set_dtype_policy(policy)
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.dtype_policy.name == "float64"
        for copy, weight in zip(loaded.weights, model.weights, strict=True):
            assert copy.dtype == weight.dtype
        np.testing.assert_array_equal(loaded(batch), scores)


def test_a_model_that_looks_up_needs_the_recurrence(data: TimelineData) -> None:
    model = SASRec(data.schema, data.catalog, recurrence=True, width=8)
    for weight in model.recurrence["item"].trainable_weights:
        weight.assign(np.random.default_rng(1).normal(0, 0.5, weight.shape))
    example = {**EXAMPLE, "candidates": {"item": [3, 5, 6]}}  # Two are in the history.
    batch = make_batch([example], data.schema)
    state = model.encode(batch["history"], batch["query_time"])
    with pytest.raises(ValueError, match="looks candidates up: score needs their recurrence"):
        model.score(state, batch["candidates"], batch["query_time"])
    # Where a batch does not tell it, it is looked up in the history.
    assert model.look_ups is not None
    touched = model.look_ups.touched(batch["history"], tf.constant(1, tf.int64))
    found = model.look_ups.look_up(touched, batch["candidates"], batch["query_time"])
    assert found["item"][0, :, :2].numpy().tolist() == [[1, 0], [0, 1], [0, 0]]
    scores = model(batch).numpy()
    np.testing.assert_array_equal(model({**batch, "recurrence": found}), scores)
    # Where a batch tells it, that counts, and not the history.
    never = tf.nest.map_structure(lambda numbers: 0 * numbers - 1, found)
    told = model({**batch, "recurrence": never}).numpy()
    assert (told != scores).tolist() == [True, True, False]  # The third was never touched.
    query_times = batch["query_time"][:, tf.newaxis]
    base = model.score_target("item", state, batch["candidates"]["item"], query_times).flat_values
    for numbers, logits in ((found, scores), (never, told)):
        expected = model.recurrence["item"](numbers["item"].flat_values, base)
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
