"""ATRank: attention-based modelling of heterogeneous user behaviour."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers import AttentionBlock, BehaviorEncoder, EmbeddingTable, ObjectEncoder
from atrank_tf.models.ranker import Candidates, History, Moments, Ranker, num_rows
from atrank_tf.schema import Schema
from atrank_tf.time_buckets import day_bounds, fine_bounds

Memory = dict[str, tf.RaggedTensor]


@keras.saving.register_keras_serializable("atrank_tf")
class ATRank(Ranker):
    """Ranks candidates by self-attention over everything that a user did.

    `encode` embeds the behaviours of each group, projects them to one width and relates
    them by self-attention in several latent spaces. `score` lets each candidate attend
    to the result; the logit is the dot product of what it found with the candidate's own
    embedding, plus a bias of the object.

    It has two forms, which differ in how they know time:

    - The causal form (default). Each behaviour attends to those strictly before it, and the
      gap between them is a bias of the attention. The memory serves every moment: one
      encoding of a timeline trains all its targets (`batches(all_positions=True)`), and
      `extend` adds behaviours to it without a second look at the rest.
    - The paper's (`causal=False`). All behaviours attend to each other, and each knows the
      gap between itself and `now`, so the memory is of one moment.

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
        causal: Which form; see above.

    Example:

    >>> data = data_pipeline.TimelineData("runs/quickstart/data")
    >>> model = atrank_tf.ATRank(data.schema, data.catalog)
    >>> model.compile(atrank_tf.RowSparse(0.004, clip_norm=5.0), atrank_tf.PointwiseLoss())
    >>> model.fit(data.batches("train", all_positions=True), epochs=2)

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018. Scores and feed-forward widths are those of the
        authors' released code; see `LatentAttention`.
    """

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        width: int = 64,
        num_spaces: int = 4,
        num_blocks: int = 1,
        embedding_width: int = 64,
        feature_width: int = 16,
        dropout: float = 0.0,
        l2: float = 0.0,
        causal: bool = True,
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
        self.causal = causal

        behavior_bounds, attention_bounds = (
            ([], fine_bounds(schema.units_per_day))
            if causal
            else (day_bounds(schema.num_time_buckets, schema.units_per_day), [])
        )
        group_names = {group.name for group in schema.groups}
        tables = {}
        for vocabulary in schema.vocabularies:
            size = embedding_width if vocabulary.name in group_names else feature_width
            tables[vocabulary.name] = EmbeddingTable(
                vocabulary.num_rows,
                size,
                l2=l2,
                name=f"{vocabulary.name}_table",
                dtype=self.dtype_policy,
            )
        self.behaviors = {
            group.name: BehaviorEncoder(
                ObjectEncoder(
                    group,
                    tables,
                    embedding_width,
                    name=f"{group.name}_objects",
                    dtype=self.dtype_policy,
                ),
                time_bounds=behavior_bounds,
                behavior_width=embedding_width,
                width=width,
                l2=l2,
                name=f"{group.name}_behaviors",
                dtype=self.dtype_policy,
            )
            for group in schema.groups
        }
        self.biases = {
            target: EmbeddingTable(
                schema.vocabulary(target).num_rows,
                1,
                "zeros",
                name=f"{target}_bias",
                dtype="float32",
            )
            for target in schema.targets
        }
        block: dict[str, Any] = {
            "width": width,
            "num_spaces": num_spaces,
            "dropout": dropout,
            "time_bounds": attention_bounds,
            "dtype": self.dtype_policy,
        }
        self.self_attention = [
            AttentionBlock(**block, name=f"self_attention_{i}") for i in range(num_blocks)
        ]
        self.vanilla_attention = AttentionBlock(**block, name="vanilla_attention")
        self.built = True
        for name, objects in (catalog or {}).items():
            self.behaviors[name].objects.set_objects(objects)
            if name in schema.targets and not schema.group(name).impressions:
                self.biases[name].table.assign(_log_odds(objects, schema.vocabulary(name).num_rows))

    def encode(
        self,
        history: History,
        now: Moments,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> Memory:
        """Relates the behaviours of each user: all of them, or each to those before it.

        Returns:
            The memory: what each attention block reads of each behaviour, by the block's
            name, float [batch, (behaviours), 2 width]; and of the causal form their
            `times`, int64 [batch, (behaviours)].
        """
        if self.causal:
            return self._extend({}, history, num_rows(now), training)
        if isinstance(now, dict):
            raise ValueError(
                "a model with causal=False needs one moment a row: batches without all_positions"
            )
        tokens = self._tokens(history, now, num_rows(now), training)
        for block in self.self_attention:
            tokens = block(tokens, block.memorize(tokens), training=training)
        last = self.vanilla_attention
        return {last.name: last.memorize(tokens)}

    def extend(self, memory: Memory, history: History, training: bool = False) -> Memory:
        """Adds behaviours to a memory of the causal form; what is in it stays as it is.

        Extending equals encoding everything at once, as long as nothing that is added
        comes before what is in the memory.

        Args:
            memory: What `encode` or `extend` returned.
            history: The new behaviours by group, as in a batch.
            training: Whether this is a training step.

        Returns:
            The memory of all behaviours, like that of `encode`.
        """
        if not self.causal:
            raise ValueError("extend: a model with causal=False has a memory of one moment")
        return self._extend(memory, history, memory["times"].nrows(), training)

    def _extend(self, memory: Memory, history: History, rows: tf.Tensor, training: bool) -> Memory:
        def add(name: str, rows: tf.RaggedTensor) -> tf.RaggedTensor:
            return ragged.concat_rows([memory[name], rows]) if memory else rows

        tokens = self._tokens(history, None, rows, training)
        new_times = ragged.concat_rows(
            [history[group.name]["time"] for group in self.schema.groups if group.name in history]
            or [ragged.empty_rows(tf.zeros([0], tf.int64), rows)]
        )
        moments = ragged.pad(new_times)
        times = add("times", new_times)
        extended = {"times": times}
        for block in self.self_attention:
            extended[block.name] = add(block.name, block.memorize(tokens))
            tokens = block(tokens, extended[block.name], moments, times, training=training)
        last = self.vanilla_attention
        extended[last.name] = add(last.name, last.memorize(tokens))
        return extended

    def score(
        self, memory: Memory, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates by vanilla attention to the memory: f(h, e) = h . e + bias."""
        logits = {}
        keys_values = memory[self.vanilla_attention.name]
        for target, objects in candidates.items():
            moments = ragged.pad(now[target]) if isinstance(now, dict) else now[:, tf.newaxis]
            encoder = self.behaviors[target]
            h = encoder.candidates(objects, training=training)
            e = self.vanilla_attention(
                h, keys_values, moments, memory.get("times"), training=training
            )
            bias = self.biases[target](encoder.objects.embedding_row(objects.flat_values))
            h_values, e_values = (tf.cast(x.flat_values, tf.float32) for x in (h, e))
            scores = tf.reduce_sum(h_values * e_values, axis=-1) / math.sqrt(self.width)
            logits[target] = ragged.like(objects, scores + bias[:, 0])
        return logits

    def _tokens(
        self, history: History, now: tf.Tensor | None, rows: tf.Tensor, training: bool
    ) -> tf.RaggedTensor:
        """All behaviours of each user, group after group: float [batch, (behaviours), width]."""
        tokens = [
            self.behaviors[group.name](history[group.name], now, training=training)
            for group in self.schema.groups
            if group.name in history
        ]
        nothing = tf.zeros([0, self.width], self.compute_dtype)
        return ragged.concat_rows(tokens or [ragged.empty_rows(nothing, rows)])

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
            "causal": self.causal,
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
