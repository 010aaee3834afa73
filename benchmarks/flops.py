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

    Of real behaviours and candidates alone: padding, hidden pairs of the causal form,
    element-wise work and look-ups are not counted. The backward pass counts twice the
    forward pass.
    """
    w, inner = model.width, max(1, model.width // 4)
    tokens = np.sum([h["object"].row_lengths().numpy() for h in inputs["history"].values()], axis=0)
    queries = np.sum([c.row_lengths().numpy() for c in inputs["candidates"].values()], axis=0)
    encoder = next(iter(model.behaviors.values()))
    features, behavior = encoder.objects.network.kernel.shape
    embed = features * behavior + behavior * w  # Of each behaviour and candidate.
    block = w * w + 2 * w * inner  # Query, feed-forward; keys and values are 2 w^2 a token.
    # In the causal form half of the pairs in a row are visible.
    share = 0.5 if model.causal else 1.0
    forward = (tokens + queries) * embed + queries * block + tokens * 2 * w * w
    forward = forward + share * queries * tokens * 2 * w
    blocks = len(model.self_attention)
    forward = forward + blocks * tokens * (block + 2 * w * w + share * tokens * 2 * w)
    return 3 * 2.0 * float(forward.sum())
