"""ATRank in NumPy, float64, one user and one candidate at a time: what the layers must agree with.

Written from the paper's equations and the package's documentation; of the layers it reads
the weights alone.
"""

import math
from typing import Any

import numpy as np

Event = tuple[int, int, int]  # object row, action row, time


class Reference:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.schema = model.schema

    def object(self, group: Any, row: int) -> np.ndarray:
        """emb_g(o): the network of the concatenated embeddings of id and features."""
        encoder = self.model.behaviors[group.name].objects
        parts = [table(encoder, group.name)[self.id_row(group, row)]]
        for feature in group.features:
            vectors = table(encoder, feature.vocabulary)
            rows = encoder.feature_rows[feature.name].numpy()
            if feature.multivalued:
                splits = encoder.feature_splits[feature.name].numpy()
                values = vectors[rows[splits[row] : splits[row + 1]]]
                parts.append(values.mean(0) if len(values) else np.zeros(vectors.shape[1]))
            else:
                parts.append(vectors[rows[row]])
        return dense(np.concatenate(parts), encoder.network)

    def id_row(self, group: Any, row: int) -> int:
        return int(self.model.behaviors[group.name].objects.embedding_rows.numpy()[row])

    def behavior(self, group: Any, event: Event, now: int) -> np.ndarray:
        """F_M_g(emb_g(o) + time_g[bucket] + action_g[a])."""
        layer = self.model.behaviors[group.name]
        days = (now - event[2]) / self.schema.units_per_day
        bucket = 0 if days < 1 else min(1 + math.floor(math.log2(days)), 12)
        u = self.object(group, event[0])
        u = u + array(layer.times.table)[bucket] + array(layer.actions.table)[event[1]]
        return dense(u, layer.project)

    def attention(self, queries: np.ndarray, memory: np.ndarray, layer: Any) -> np.ndarray:
        """concat_k softmax(q_k k_k^T / sqrt(d)) v_k; zeros where there is no memory."""
        result = np.zeros_like(queries)
        width = queries.shape[1] // layer.num_spaces
        for space in range(layer.num_spaces if len(memory) else 0):
            mine = slice(space * width, (space + 1) * width)
            q, k, v = (
                np.maximum(dense(x, projection), 0)[:, mine]
                for x, projection in (
                    (queries, layer.query),
                    (memory, layer.key),
                    (memory, layer.value),
                )
            )
            weights = np.exp(q @ k.T / math.sqrt(width))
            result[:, mine] = weights / weights.sum(1, keepdims=True) @ v
        return result

    def block(self, queries: np.ndarray, memory: np.ndarray, layer: Any) -> np.ndarray:
        """Attention and feed-forward network, each with residual and normalisation."""
        x = queries + self.attention(queries, memory, layer.attention)
        x = normalised(x, layer.attention_norm)
        y = x + dense(np.maximum(dense(x, layer.inner), 0), layer.outer)
        return normalised(y, layer.feed_forward_norm)

    def logit(self, history: dict[str, list[Event]], now: int, target: str, row: int) -> float:
        """h . e / sqrt(width) + bias."""
        tokens = [
            self.behavior(group, event, now)
            for group in self.schema.groups
            for event in history.get(group.name, [])
        ]
        memory = np.array(tokens).reshape(-1, self.model.width)
        for layer in self.model.self_attention:
            memory = self.block(memory, memory, layer)
        group = self.schema.group(target)
        h = dense(self.object(group, row), self.model.behaviors[target].project)
        e = self.block(h[np.newaxis], memory, self.model.vanilla_attention)[0]
        bias = array(self.model.biases[target].table)[self.id_row(group, row), 0]
        return float(h @ e / math.sqrt(self.model.width) + bias)


def array(weight: Any) -> np.ndarray:
    return weight.numpy().astype(np.float64)


def table(encoder: Any, vocabulary: str) -> np.ndarray:
    return array(encoder.tables[vocabulary].table)


def dense(x: np.ndarray, layer: Any) -> np.ndarray:
    return x @ array(layer.kernel) + array(layer.bias)


def normalised(x: np.ndarray, layer: Any) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-3)
    return centered / deviation * array(layer.gamma) + array(layer.beta)
