"""How much arithmetic a training step is, and how fast this machine does such arithmetic."""

import time
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf import ATRank


def matmul_peak(size: int, repeats: int = 5) -> float:
    """Returns the FLOP/s of the best of some products of two square matrices."""
    a, b = (tf.random.normal([size, size]) for _ in range(2))
    multiply = tf.function(tf.matmul)
    multiply(a, b)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        multiply(a, b).numpy()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def step_flops(model: ATRank, inputs: dict[str, Any]) -> float:
    """Returns the FLOPs of the matrix products that a training step on a batch needs.

    Of real behaviors and candidates alone, and of the pairs that see each other: padding,
    hidden pairs, element-wise work and look-ups are not counted. The backward pass counts
    twice the forward pass.
    """
    history = [events["time"].to_list() for events in inputs["history"].values()]
    candidates = {name: rows.row_lengths().numpy() for name, rows in inputs["candidates"].items()}
    query_time = inputs["query_time"]
    tokens = queries = token_pairs = query_pairs = 0
    for row in range(len(history[0])):
        times = np.sort(np.concatenate([group[row] for group in history]))
        if isinstance(query_time, dict):
            query_times = np.concatenate([group[row].numpy() for group in query_time.values()])
        else:
            count = sum(lengths[row] for lengths in candidates.values())
            query_times = np.repeat(query_time[row], count)
        tokens += len(times)
        queries += len(query_times)
        query_pairs += np.searchsorted(times, query_times).sum()
        token_pairs += np.searchsorted(times, times).sum() if model.is_causal else len(times) ** 2

    width, inner = model.width, max(1, model.width // 4)
    features, behavior = next(iter(model.tokens.behaviors.values())).objects.network.kernel.shape
    embedding = features * behavior + behavior * width
    key_value = 2 * width * width
    query = width * width + 2 * width * inner  # With the feed-forward network.
    blocks = len(model.self_attention)
    forward = (tokens + queries) * embedding + tokens * key_value + queries * query
    forward += blocks * tokens * (key_value + query)
    forward += (query_pairs + blocks * token_pairs) * 2 * width
    return 3 * 2.0 * float(forward)
