"""ATRank in NumPy, float64, one user and one candidate at a time: what the layers must agree with.

Written from the paper's equations and the package's documentation; of the layers it reads
the weights alone.
"""

import math
from typing import Any

import numpy as np

Event = tuple[int, int, int]  # object index, action index, time
Seen = tuple[np.ndarray, int]  # token, time
# By the id of a weight its numbers when the last `Reference` was made.
ARRAYS: dict[int, np.ndarray] = {}


class Reference:
    def __init__(self, model: Any) -> None:
        ARRAYS.clear()
        self.model = model
        self.schema = model.schema

    def object(self, group: Any, index: int) -> np.ndarray:
        """emb_g(o): the network of the concatenated embeddings of id and features."""
        encoder = self.model.tokens.behaviors[group.name].objects
        parts = [table(encoder, group.name)[self.embedding_index(group, index)]]
        for feature in group.features:
            vectors = table(encoder, feature.vocabulary)
            indices = encoder.feature_indices[feature.name].numpy()
            if feature.multivalued:
                splits = encoder.feature_splits[feature.name].numpy()
                values = vectors[indices[splits[index] : splits[index + 1]]]
                parts.append(values.mean(0) if len(values) else np.zeros(vectors.shape[1]))
            else:
                parts.append(vectors[indices[index]])
        return dense(np.concatenate(parts), encoder.network)

    def embedding_index(self, group: Any, index: int) -> int:
        return int(self.model.tokens.behaviors[group.name].objects.embedding_indices.numpy()[index])

    def behavior(self, group: Any, event: Event, query_time: int) -> np.ndarray:
        """F_M_g(emb_g(o) + action_g[a]), in the paper's form also + time_g[bucket]."""
        layer = self.model.tokens.behaviors[group.name]
        u = self.object(group, event[0]) + array(layer.actions.table)[event[1]]
        if self.model.is_causal:
            return dense(u, layer.project)
        time = array(layer.times.table)[self.bucket(query_time - event[2])]
        if self.model.time == "added":
            return dense(u + time, layer.project)
        kernel = np.concatenate([array(layer.project.kernel), array(layer.times.table)])
        one_hot = np.eye(len(array(layer.times.table)))[self.bucket(query_time - event[2])]
        return np.concatenate([u, one_hot]) @ kernel + array(layer.project.bias)

    def bucket(self, gap: int) -> int:
        """[0, 1) day, [1, 2), [2, 4) ...; of the causal form [0, 4) s, [4, 16) ..."""
        if self.model.is_causal:
            return min(math.floor(math.log2(gap) / 2), 15)
        days = gap / self.schema.units_per_day
        return 0 if days < 1 else min(1 + math.floor(math.log2(days)), 12)

    def recency(self, query_time: int, times: list[int]) -> np.ndarray:
        """The bucket of the gap to the newest time before the query's; the first where none is."""
        earlier = [time for time in times if time < query_time]
        bucket = 1 + self.bucket(query_time - max(earlier)) if earlier else 0
        return array(self.model.recency.gaps.table)[bucket]

    def attention(
        self, query: np.ndarray, query_time: int, seen: list[Seen], layer: Any
    ) -> np.ndarray:
        """concat_k softmax(q_k k_k^T / sqrt(d) + bias_k) v_k; zeros where nothing is seen."""
        is_causal = layer.relative_time_bias is not None
        if is_causal:
            seen = [(token, time) for token, time in seen if time < query_time]
        result = np.zeros_like(query)
        if not seen:
            return result
        tokens = np.array([token for token, _ in seen])
        q = np.maximum(dense(query, layer.query), 0)
        projected = np.maximum(dense(tokens, layer.key_value), 0)
        bilinear = layer.scores == "bilinear"
        k, v = (tokens, projected) if bilinear else np.split(projected, 2, axis=1)
        width = len(query) // layer.num_spaces
        for space in range(layer.num_spaces):
            in_space = slice(space * width, (space + 1) * width)
            if bilinear:
                scores = k @ (q[in_space] @ array(layer.bilinear)[space])
            else:
                scores = k[:, in_space] @ q[in_space] / math.sqrt(width)
            if is_causal:
                by_time = array(layer.relative_time_bias.time)[space]
                by_order = array(layer.relative_time_bias.order)[space]
                scores = scores + [
                    by_time[self.bucket(query_time - time)]
                    + by_order[order_bucket(sum(seen_time >= time for _, seen_time in seen))]
                    for _, time in seen
                ]
            weights = np.exp(scores)
            result[in_space] = weights / weights.sum() @ v[:, in_space]
        return result

    def block(self, query: np.ndarray, query_time: int, seen: list[Seen], layer: Any) -> np.ndarray:
        """Attention and feed-forward network, each with residual and normalization."""
        x = normalized(query + self.attention(query, query_time, seen, layer.attention), layer)
        y = x + dense(np.maximum(dense(x, layer.inner), 0), layer.outer)
        return normalized(y, layer, "feed_forward_norm")

    def logit(
        self, history: dict[str, list[Event]], query_time: int, target: str, index: int
    ) -> float:
        """h . e / sqrt(width) + bias."""
        seen = [
            (self.behavior(group, event, query_time), event[2])
            for group in self.schema.groups
            for event in history.get(group.name, [])
        ]
        times = [time for _, time in seen]
        if self.model.is_causal:
            seen = [(token + self.recency(time, times), time) for token, time in seen]
        for layer in self.model.self_attention:
            seen = [(self.block(token, time, seen, layer), time) for token, time in seen]
        group = self.schema.target_group(target)
        h = dense(self.object(group, index), self.model.tokens.behaviors[target].project)
        if self.model.is_causal:
            h = h + self.recency(query_time, times)
        e = self.block(h, query_time, seen, self.model.vanilla_attention)
        bias = array(self.model.tokens.biases[target].table)[self.embedding_index(group, index), 0]
        if self.model.downstream == "dot":
            return float(h @ e / math.sqrt(self.model.width) + bias)
        inner, outer = self.model.mlp
        hidden = np.maximum(dense(np.concatenate([h, e]), inner), 0)
        return float(dense(hidden, outer)[0] + bias)


def order_bucket(gap: int) -> int:
    """The last behavior, the second, the third, 4 and 5, 6 and 7, [8, 16), [16, 32), others."""
    return [gap < bound for bound in (2, 3, 4, 6, 8, 16, 32, 10**9)].index(True)


def array(weight: Any) -> np.ndarray:
    if id(weight) not in ARRAYS:
        ARRAYS[id(weight)] = weight.numpy().astype(np.float64)
    return ARRAYS[id(weight)]


def table(encoder: Any, vocabulary: str) -> np.ndarray:
    return array(encoder.tables[vocabulary].table)


def dense(x: np.ndarray, layer: Any) -> np.ndarray:
    return x @ array(layer.kernel) + array(layer.bias)


def normalized(x: np.ndarray, block: Any, name: str = "attention_norm") -> np.ndarray:
    layer = getattr(block, name)
    centered = x - x.mean()
    deviation = np.sqrt((centered**2).mean() + 1e-3)
    return centered / deviation * array(layer.gamma) + array(layer.beta)
