"""ATRank: attention-based modelling of heterogeneous user behaviour."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers import AttentionBlock, BehaviorEncoder, EmbeddingTable, ObjectEncoder
from atrank_tf.models.ranker import Candidates, History, Ranker
from atrank_tf.schema import Schema


@keras.saving.register_keras_serializable("atrank_tf")
class ATRank(Ranker):
    """Ranks candidates by self-attention over everything that a user did.

    `encode` embeds the behaviours of each group, projects them to one width and relates
    them by self-attention in several latent spaces. `score` lets each candidate attend
    to the result; the logit is the dot product of what it found with the candidate's own
    embedding, plus a bias of the object.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        width: Overall width of behaviours and memory; a multiple of `num_spaces`.
        num_spaces: Number of latent semantic spaces, K of the paper.
        num_blocks: Number of self-attention blocks.
        embedding_width: Width of an object id's embedding, and of each group's
            behaviour embedding space.
        feature_width: Width of the embedding of a side feature.
        dropout: Share of values dropped in training.
        l2: Weight of the L2 penalty on the embeddings in use.

    Example:

    >>> data = data_pipeline.TimelineData("runs/quickstart/data")
    >>> model = atrank_tf.ATRank(data.schema, data.catalog)
    >>> model.compile(atrank_tf.LazyAdam(0.001, clip_norm=5.0), atrank_tf.PointwiseLoss())
    >>> model.fit(data.batches("train"), epochs=2)

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018. Scores and feed-forward widths are those of the
        authors' released code; see `LatentAttention`.
    """

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        width: int = 128,
        num_spaces: int = 8,
        num_blocks: int = 1,
        embedding_width: int = 64,
        feature_width: int = 16,
        dropout: float = 0.1,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, **kwargs)
        for name in ("width", "num_spaces", "num_blocks", "embedding_width", "feature_width"):
            if locals()[name] < 1:
                raise ValueError(f"{name} is {locals()[name]}: expected 1 or more")
        if not 0 <= dropout < 1 or not l2 >= 0:
            raise ValueError(f"dropout is {dropout}, l2 is {l2}: expected [0, 1) and 0 or more")
        self.width = width
        self.num_spaces = num_spaces
        self.num_blocks = num_blocks
        self.embedding_width = embedding_width
        self.feature_width = feature_width
        self.dropout = dropout
        self.l2 = l2

        group_names = {group.name for group in schema.groups}
        tables = {}
        for vocabulary in schema.vocabularies:
            size = embedding_width if vocabulary.name in group_names else feature_width
            tables[vocabulary.name] = EmbeddingTable(
                vocabulary.num_rows, size, l2=l2, name=f"{vocabulary.name}_table"
            )
        self.behaviors = {
            group.name: BehaviorEncoder(
                ObjectEncoder(group, tables, embedding_width, name=f"{group.name}_objects"),
                num_time_buckets=schema.num_time_buckets,
                units_per_day=schema.units_per_day,
                behavior_width=embedding_width,
                width=width,
                l2=l2,
                name=f"{group.name}_behaviors",
            )
            for group in schema.groups
        }
        self.biases = {
            target: EmbeddingTable(
                schema.vocabulary(target).num_rows, 1, "zeros", name=f"{target}_bias"
            )
            for target in schema.targets
        }
        self.self_attention = [
            AttentionBlock(width, num_spaces, dropout, name=f"self_attention_{i}")
            for i in range(num_blocks)
        ]
        self.vanilla_attention = AttentionBlock(
            width, num_spaces, dropout, name="vanilla_attention"
        )
        self.built = True
        for name, objects in (catalog or {}).items():
            self.behaviors[name].objects.set_objects(objects)
            if name in schema.targets and not schema.group(name).impressions:
                self.biases[name].table.assign(_log_odds(objects, schema.vocabulary(name).num_rows))

    def encode(
        self,
        history: History,
        now: tf.Tensor,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Relates all behaviours of each user to each other.

        Returns:
            The memory C, float [batch, (behaviours), width].
        """
        tokens = [
            self.behaviors[group.name](history[group.name], now, training=training)
            for group in self.schema.groups
            if group.name in history
        ]
        nothing = tf.zeros([0, self.width], self.compute_dtype)
        memory = ragged.concat_rows(
            tokens or [tf.RaggedTensor.from_row_lengths(nothing, tf.zeros_like(now))]
        )
        for block in self.self_attention:
            memory = block(memory, memory, training=training)
        return memory

    def score(
        self,
        memory: tf.RaggedTensor,
        candidates: Candidates,
        now: tf.Tensor,
        training: bool = False,
    ) -> Candidates:
        """Scores candidates by vanilla attention to the memory: f(h, e) = h . e + bias."""
        logits = {}
        for target, objects in candidates.items():
            encoder = self.behaviors[target]
            h = encoder.candidates(objects, training=training)
            e = self.vanilla_attention(h, memory, training=training)
            bias = self.biases[target](encoder.objects.embedding_row(objects.flat_values))
            product = tf.reduce_sum(h.flat_values * e.flat_values, axis=-1)
            scores = tf.cast(product / math.sqrt(self.width), tf.float32)
            logits[target] = ragged.like(objects, scores + tf.cast(bias[:, 0], tf.float32))
        return logits

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_spaces": self.num_spaces,
            "num_blocks": self.num_blocks,
            "embedding_width": self.embedding_width,
            "feature_width": self.feature_width,
            "dropout": self.dropout,
            "l2": self.l2,
        }


def _log_odds(objects: dict[str, np.ndarray], num_rows: int) -> np.ndarray:
    """What an object's bias must be for popularity alone: [num_rows, 1].

    A positive is drawn by how often objects occur, a negative uniformly: the log-odds of
    a candidate are log(count / mean count). Training starts from there.
    """
    rows, counts = objects["embedding_rows"], objects["train_counts"] + 1.0
    totals = np.bincount(rows, counts, num_rows)
    means = totals / np.maximum(1, np.bincount(rows, minlength=num_rows))
    return np.log(np.maximum(means, 1.0) / counts.mean())[:, np.newaxis]
