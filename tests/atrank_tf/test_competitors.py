"""The competitors: the same two verbs, and scores that an independent computation gives."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import BST, CNN, DIN, BiLSTM, LastObject, PointwiseLoss, Ranker, RowSparse, SASRec
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch
from tests.atrank_tf.reference import Reference

SMALL = {"width": 8, "embedding_width": 8, "feature_width": 4}
EVENTS = [
    (3, 1, QUERY_TIME - 10),
    (5, 2, QUERY_TIME - 90_000),
    (0, 0, QUERY_TIME - 10**8),
    (4, 1, QUERY_TIME - 86_400),
]
QUERIES = [(1, 0, QUERY_TIME - 500), (2, 0, QUERY_TIME - 10**7)]
KINDS: dict[str, Callable[..., Ranker]] = {
    "bilstm": functools.partial(BiLSTM, **SMALL),
    "bilstm_attention": functools.partial(BiLSTM, attention=True, **SMALL),
    "bst": functools.partial(BST, **SMALL),
    "cnn": functools.partial(CNN, **SMALL),
    "din": functools.partial(DIN, **SMALL),
    "sasrec": functools.partial(SASRec, **SMALL),
}
ORDERED = ("bilstm", "bilstm_attention", "cnn", "sasrec")


def made(name: str, data: TimelineData) -> Ranker:
    """A model whose weights are away from zeros and ones, where faults hide."""
    keras.utils.set_random_seed(1)
    model = KINDS[name](data.schema, data.catalog)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(0, 0.5, weight.shape))
    return model


@pytest.fixture(scope="module", params=list(KINDS))
def model(request: pytest.FixtureRequest, data: TimelineData) -> Ranker:
    return made(request.param, data)


def logits(model: Ranker, examples: list[dict[str, Any]]) -> list[list[float]]:
    """The logits of each example's items."""
    batch = make_batch(examples, model.schema)
    memory = model.encode(batch["history"], batch["query_time"])
    return model.score(memory, batch["candidates"], batch["query_time"])["item"].to_list()


def example(items: list[Any], queries: list[Any] = QUERIES) -> dict[str, Any]:
    history = {"item": items, "query": queries}
    return {
        "query_time": QUERY_TIME,
        "history": history,
        "candidates": {"item": [4, 9, 5], "query": [1]},
    }


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
    found = logits(model, [example(EVENTS), example(EVENTS[::-1], QUERIES[::-1])])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ORDERED)
def test_order_matters(data: TimelineData, name: str) -> None:
    days = 86_400
    one = [
        (3, 1, QUERY_TIME - 9 * days),
        (5, 1, QUERY_TIME - 10 * days),
    ]  # Of one bucket of the gap.
    other = [(5, 1, QUERY_TIME - 9 * days), (3, 1, QUERY_TIME - 10 * days)]
    found = logits(made(name, data), [example(one, []), example(other, [])])
    assert np.abs(np.subtract(*found)).max() > 1e-4


def test_gradients_are_finite(model: Ranker) -> None:
    batch = make_batch([example([], []), example(EVENTS)], model.schema)
    weights = [w.value for w in model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(batch, training=True)))
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)]
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.fixture(scope="module")
def batches(data: TimelineData) -> tf.data.Dataset:
    cached = data.batches("train", BatchOptions(max_tokens=2000), seed=1).take(3).cache()
    assert len(list(cached)) == 3
    return cached


def test_it_learns_and_is_saved(model: Ranker, batches: tf.data.Dataset, tmp_path: Path) -> None:
    # To trace a step takes longer than the nine that it is run for.
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
    for mine, weight in zip(exact.weights, mixed.weights, strict=True):
        mine.assign(weight)
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
def test_a_memory_of_one_moment_asks_for_one(data: TimelineData, name: str) -> None:
    batch = make_batch([example(EVENTS)], data.schema)
    with pytest.raises(ValueError, match="needs one query time a row"):
        KINDS[name](data.schema).encode(batch["history"], batch["candidates"])


def test_a_memory_of_sasrec_serves_every_moment(data: TimelineData) -> None:
    model = made("sasrec", data)
    moments = sorted(time + offset for _, _, time in EVENTS + QUERIES for offset in (0, 1))
    batch = make_batch([example(EVENTS)], data.schema)
    memory = model.encode(batch["history"], batch["query_time"])
    objects = tf.RaggedTensor.from_row_lengths(
        tf.fill([len(moments)], tf.constant(4, tf.int64)), [len(moments)]
    )
    query_time = {"item": objects.with_flat_values(tf.constant(moments, tf.int64))}
    found = model.score(memory, {"item": objects}, query_time)["item"].to_list()[0]
    for moment, score in zip(moments, found, strict=True):
        items, queries = ([e for e in events if e[2] < moment] for events in (EVENTS, QUERIES))
        (expected,) = logits(model, [{**example(items, queries), "query_time": moment}])
        assert score == pytest.approx(expected[0], abs=1e-5)


def vectors(model: Any, items: list[Any], row: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Tokens of items, the candidate's vector and its bias."""
    batch = make_batch([{**example(items, []), "candidates": {"item": [row]}}], model.schema)
    tokens = model.tokens(batch["history"], batch["query_time"], tf.constant(1, tf.int64))
    objects = batch["candidates"]["item"]
    q = model.tokens.candidates("item", objects).flat_values[0]
    return tokens.flat_values.numpy(), q.numpy(), float(model.tokens.bias("item", objects)[0])


def test_din_scores_by_its_equations(data: TimelineData) -> None:
    model = made("din", data)
    keys, q, bias = vectors(model, EVENTS, 9)
    # W [q, k, q - k, q * k], with a part for q - k of 0: the others hold it.
    parts = [layer.kernel.numpy().T for layer in (model.of_query, model.of_key)]
    w = np.concatenate([*parts, np.zeros_like(parts[0]), model.of_product.numpy()], axis=1)
    interest = np.zeros_like(q)
    for k in keys:
        pair = w @ np.concatenate([q, k, q - k, q * k]) + model.of_query.bias.numpy()
        weight = np.maximum(pair, 0) @ model.weigh.kernel.numpy() + model.weigh.bias.numpy()
        interest += weight * k
    x = np.concatenate([interest, q])
    for i, layer in enumerate(model.mlp):
        x = x @ layer.kernel.numpy() + layer.bias.numpy()
        x = np.maximum(x, 0) if i < 2 else x
    (found,) = logits(model, [example(EVENTS, [])])
    assert found[1] == pytest.approx(x[0] + bias, rel=1e-4)


def test_cnn_scores_by_its_equations(data: TimelineData) -> None:
    model = made("cnn", data)
    ordered = sorted(EVENTS, key=lambda event: event[2])
    tokens, q, bias = vectors(model, ordered, 9)
    found = []
    for layer in model.filters:
        kernel = layer.kernel.numpy()  # [window, width, filters]
        before = (len(kernel) - 1) // 2
        padded = np.pad(tokens, [[before, len(kernel) - 1 - before], [0, 0]])
        at = [
            np.einsum("wi,wio->o", padded[t : t + len(kernel)], kernel) + layer.bias.numpy()
            for t in range(len(tokens))
        ]
        found.append(np.maximum(at, 0).max(axis=0))
    e = np.concatenate(found) @ model.project.kernel.numpy() + model.project.bias.numpy()
    (scores,) = logits(model, [example(EVENTS, [])])
    assert scores[1] == pytest.approx(e @ q / np.sqrt(8) + bias, rel=1e-4)


def test_bst_scores_by_its_equations(data: TimelineData) -> None:
    model = made("bst", data)
    tokens, q, bias = vectors(model, EVENTS, 9)
    x = np.concatenate([tokens, [q]])
    x = norm(x + attend(x, model.attention, np.ones([len(x), len(x)])), model.attention_norm)
    inner = x @ model.inner.kernel.numpy() + model.inner.bias.numpy()
    inner = np.where(inner > 0, inner, 0.2 * inner)
    y = x + inner @ model.outer.kernel.numpy() + model.outer.bias.numpy()
    y = norm(y, model.feed_forward_norm)
    z = np.concatenate([y[-1], y[:-1].mean(axis=0)])
    for i, layer in enumerate(model.mlp):
        z = z @ layer.kernel.numpy() + layer.bias.numpy()
        z = np.where(z > 0, z, 0.2 * z) if i < 2 else z
    (found,) = logits(model, [example(EVENTS, [])])
    assert found[1] == pytest.approx(z[0] + bias, rel=1e-4)


def test_sasrec_scores_by_its_equations(data: TimelineData) -> None:
    model = made("sasrec", data)
    x, q, bias = vectors(model, sorted(EVENTS, key=lambda event: event[2]), 9)
    x = x + model.positions.table.numpy()[: len(x)]
    for block in model.blocks:
        x = x + attend(norm(x, block.norms[0]), block.attention, np.tri(len(x)), keys=x)
        inner = norm(x, block.norms[1]) @ block.inner.kernel.numpy() + block.inner.bias.numpy()
        x = x + np.maximum(inner, 0) @ block.outer.kernel.numpy() + block.outer.bias.numpy()
    e = norm(x, model.norm)[-1]
    (found,) = logits(model, [example(EVENTS, [])])
    assert found[1] == pytest.approx(e @ q / np.sqrt(8) + bias, rel=1e-4)


@pytest.mark.parametrize("name", ["bilstm", "bilstm_attention"])
def test_bilstm_scores_by_its_equations(data: TimelineData, name: str) -> None:
    model = made(name, data)
    tokens, q, bias = vectors(model, sorted(EVENTS, key=lambda event: event[2]), 9)
    forward = recur(tokens, model.recurrent.forward_layer)
    backward = recur(tokens[::-1], model.recurrent.backward_layer)
    kernel, shift = model.project.kernel.numpy(), model.project.bias.numpy()
    if name == "bilstm":
        e = np.concatenate([forward[-1], backward[-1]]) @ kernel + shift
    else:
        states = np.concatenate([forward, backward[::-1]], axis=1) @ kernel + shift
        e = Reference(model).block(q, QUERY_TIME, [(s, 0) for s in states], model.vanilla_attention)
    (found,) = logits(model, [example(EVENTS, [])])
    assert found[1] == pytest.approx(e @ q / np.sqrt(8) + bias, rel=1e-4)


def norm(x: np.ndarray, layer: Any) -> np.ndarray:
    centered = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-3)
    return centered / deviation * layer.gamma.numpy() + layer.beta.numpy()


def attend(
    queries: np.ndarray, layer: Any, sees: np.ndarray, keys: np.ndarray | None = None
) -> np.ndarray:
    """Multi-head attention of Keras' layer, each query to the keys that it `sees`."""
    keys = queries if keys is None else keys
    wq, bq, wk, bk, wv, bv, wo, bo = layer.get_weights()
    result = np.tile(bo, [len(queries), 1])
    for head in range(wq.shape[1]):
        q = queries @ wq[:, head] + bq[head]
        k, v = keys @ wk[:, head] + bk[head], keys @ wv[:, head] + bv[head]
        weights = np.exp(q @ k.T / np.sqrt(wq.shape[2])) * sees
        result += weights / weights.sum(axis=1, keepdims=True) @ v @ wo[head]
    return result


def recur(tokens: np.ndarray, layer: Any) -> np.ndarray:
    """The states of an LSTM, Hochreiter & Schmidhuber 1997 with the forget gate."""
    kernel, recurrent, bias = layer.get_weights()
    state = cell = np.zeros(len(recurrent))
    states = []
    for token in tokens:
        i, f, c, o = np.split(token @ kernel + state @ recurrent + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
        states.append(state)
    return np.array(states)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_last_object_again(data: TimelineData) -> None:
    model = LastObject(data.schema)
    assert logits(model, [example([(4, 1, 3), (9, 1, 7), (5, 1, 5)])]) == [[0, 1, 0]]
    assert logits(model, [example([]), example([(5, 0, 1)])]) == [[0, 0, 0], [0, 0, 1]]
    assert not model.trainable_weights
