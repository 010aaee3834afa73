"""Examples for the baselines, small models of each kind, and what their equations share."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import BST, CNN, DIN, BiLSTM, Ranker, SASRec
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


def small_model(name: str, data: TimelineData) -> Ranker:
    """A model whose weights are away from zeros and ones, where faults hide."""
    keras.utils.set_random_seed(1)
    model = KINDS[name](data.schema, data.catalog)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(0, 0.5, weight.shape))
    return model


def logits(model: Ranker, examples: list[dict[str, Any]]) -> list[list[float]]:
    """The logits of each example's items."""
    batch = make_batch(examples, model.schema)
    state = model.encode(batch["history"], batch["query_time"])
    return model.score(state, batch["candidates"], batch["query_time"])["item"].to_list()


def example(items: list[Any], queries: list[Any] = QUERIES) -> dict[str, Any]:
    history = {"item": items, "query": queries}
    return {
        "query_time": QUERY_TIME,
        "history": history,
        "candidates": {"item": [4, 9, 5], "query": [1]},
    }


def vectors(model: Any, items: list[Any], index: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Tokens of items, the candidate's vector and its bias."""
    batch = make_batch([{**example(items, []), "candidates": {"item": [index]}}], model.schema)
    tokens = model.tokens(batch["history"], batch["query_time"], tf.constant(1, tf.int64))
    objects = batch["candidates"]["item"]
    q = model.tokens.candidates("item", objects).flat_values[0]
    return tokens.flat_values.numpy(), q.numpy(), float(model.tokens.bias("item", objects)[0])


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
