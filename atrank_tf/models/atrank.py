"""ATRank: attention-based modelling of heterogeneous user behaviour."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf import ragged
from atrank_tf.layers import AttentionBlock, Recency
from atrank_tf.models.history_ranker import HistoryRanker, check_dropout
from atrank_tf.models.ranker import Candidates, History, Moments, num_rows, one_moment
from atrank_tf.schema import Schema
from atrank_tf.time_buckets import day_bounds, fine_bounds

Memory = dict[str, tf.RaggedTensor]

DOWNSTREAMS = ("dot", "mlp")


@keras.saving.register_keras_serializable("atrank_tf")
class ATRank(HistoryRanker):
    """Ranks candidates by self-attention over everything that a user did.

    `encode` embeds the behaviours of each group, projects them to one width and relates
    them by self-attention in several latent spaces. `score` lets each candidate attend
    to the result; the logit is the dot product of what it found with the candidate's own
    vector, plus a bias of the object.

    It has two forms, which differ in how they know time:

    - The causal form (default). Each behaviour attends to those strictly before it, and the
      gap between them is a bias of the attention. Each behaviour, and each candidate at
      `now`, also knows the gap since the last moment before it. The memory serves every
      moment: one encoding of a timeline trains all its targets
      (`batches(all_positions=True)`), and `extend` adds behaviours to it without a second
      look at the rest.
    - The paper's (`causal=False`). All behaviours attend to each other, and each knows the
      gap between itself and `now`, so the memory is of one moment.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        num_spaces: Number of latent semantic spaces, K of the paper; a divisor of `width`.
        num_blocks: Number of self-attention blocks.
        dropout: Share of values dropped in training.
        causal: Which form; see above.
        scores: How attention compares: "scaled_dot", as the authors' released code, or
            "bilinear", as the paper; see `LatentAttention`.
        time: Of the paper's form: "added" to a behaviour, as in the paper, or "concatenated",
            as in the released code; see `BehaviorEncoder`.
        downstream: f(h, e), a candidate h and what it read, e: "dot", h . e / sqrt(width), or
            "mlp", a network of one hidden layer of both. A bias of the object is added.
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

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
        num_spaces: int = 4,
        num_blocks: int = 1,
        dropout: float = 0.0,
        causal: bool = True,
        scores: str = "scaled_dot",
        time: str = "added",
        downstream: str = "dot",
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, **kwargs)
        for name in ("num_spaces", "num_blocks"):
            if locals()[name] < 1:
                raise ValueError(f"{name} is {locals()[name]}: expected 1 or more")
        check_dropout(dropout)
        self.num_spaces = num_spaces
        self.num_blocks = num_blocks
        self.dropout = dropout
        self.causal = causal
        if causal and time != "added":
            raise ValueError(f"time is {time!r}: only of causal=False; the causal form has biases")
        if downstream not in DOWNSTREAMS:
            expected = ", ".join(DOWNSTREAMS)
            raise ValueError(f"downstream is {downstream!r}: expected one of {expected}")
        self.scores = scores
        self.time = time
        self.downstream = downstream

        # The causal form's behaviours know no gap to `now`, but those between.
        days = day_bounds(schema.num_time_buckets, schema.units_per_day)
        fine = fine_bounds(schema.units_per_day)
        self.tokens = self.new_tokens(catalog, () if causal else days, time)
        self.recency = None
        if causal:
            self.recency = Recency(
                self.width, fine, self.l2, name="recency", dtype=self.dtype_policy
            )
        block: dict[str, Any] = {
            "width": self.width,
            "num_spaces": num_spaces,
            "dropout": dropout,
            "time_bounds": fine if causal else [],
            "scores": scores,
            "dtype": self.dtype_policy,
        }
        self.self_attention = [
            AttentionBlock(**block, name=f"self_attention_{i}") for i in range(num_blocks)
        ]
        self.vanilla_attention = AttentionBlock(**block, name="vanilla_attention")
        self.mlp = []
        if downstream == "mlp":
            self.mlp = [
                keras.layers.Dense(self.width, "relu", name="mlp_inner", dtype=self.dtype_policy),
                keras.layers.Dense(1, name="mlp_outer", dtype=self.dtype_policy),
            ]
            self.mlp[0].build((None, 2 * self.width))
            self.mlp[1].build((None, self.width))

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
        tokens = self.tokens(history, one_moment(now), num_rows(now), training=training)
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

        new_times = self.tokens.times(history, rows)
        moments = ragged.pad(new_times)
        times = add("times", new_times)
        tokens = self.tokens(history, None, rows, training=training)
        tokens = self._timed(tokens, moments, times, training)
        extended = {"times": times}
        for block in self.self_attention:
            extended[block.name] = add(block.name, block.memorize(tokens))
            tokens = block(tokens, extended[block.name], moments, times, training=training)
        last = self.vanilla_attention
        extended[last.name] = add(last.name, last.memorize(tokens))
        return extended

    def attention(
        self, history: History, candidates: Candidates, now: Moments
    ) -> dict[str, tf.Tensor]:
        """Returns what every block attends to: the paper's case studies, as numbers.

        Args:
            history: As in a batch.
            candidates: As in a batch.
            now: As in a batch.

        Returns:
            By the name of a self-attention block its weights, float [spaces, batch,
            behaviours, behaviours], and by the name of a target those of vanilla attention,
            float [spaces, batch, candidates, behaviours]: the query's place before the
            behaviour's, behaviours group after group, padded with zeros.
        """
        rows = num_rows(now)
        moments = times = None
        if self.causal:
            times = self.tokens.times(history, rows)
            moments = ragged.pad(times)
        tokens = self.tokens(history, None if self.causal else one_moment(now), rows)
        tokens = self._timed(tokens, moments, times)
        weights = {}
        for block in self.self_attention:
            memory = block.memorize(tokens)
            weights[block.name] = block.attention.attention_weights(tokens, memory, moments, times)
            tokens = block(tokens, memory, moments, times)
        last = self.vanilla_attention
        memory = {last.name: last.memorize(tokens)}
        if times is not None:
            memory["times"] = times
        return weights | self.candidate_attention(memory, candidates, now)

    def candidate_attention(
        self, memory: Memory, candidates: Candidates, now: Moments
    ) -> dict[str, tf.Tensor]:
        """Returns what candidates attend to in a memory.

        Args:
            memory: What `encode` or `extend` returned.
            candidates: As in a batch.
            now: As in a batch.

        Returns:
            By target float32 [spaces, batch, candidates, behaviours], padded with zeros: see
            `attention`.
        """
        attend = self.vanilla_attention.attention.attention_weights
        keys_values, times = memory[self.vanilla_attention.name], memory.get("times")
        weights = {}
        for target, objects in candidates.items():
            moments = _moments(now, target)
            h = self._timed(self.tokens.candidates(target, objects), moments, times)
            weights[target] = attend(h, keys_values, moments, times)
        return weights

    def score(
        self, memory: Memory, candidates: Candidates, now: Moments, training: bool = False
    ) -> Candidates:
        """Scores candidates by vanilla attention to the memory: f(h, e) + bias."""
        logits = {}
        keys_values, times = memory[self.vanilla_attention.name], memory.get("times")
        for target, objects in candidates.items():
            moments = _moments(now, target)
            h = self.tokens.candidates(target, objects, training=training)
            h = self._timed(h, moments, times, training)
            e = self.vanilla_attention(h, keys_values, moments, times, training=training)
            if self.mlp:
                x = tf.concat([h.flat_values, e.flat_values], axis=-1)
                for layer in self.mlp:
                    x = layer(x)
                logits[target] = self.tokens.with_bias(target, objects, x[:, 0])
            else:
                logits[target] = self.tokens.logits(target, objects, h, e)
        return logits

    def _timed(
        self,
        tokens: tf.RaggedTensor,
        moments: tf.Tensor | None,
        times: tf.RaggedTensor | None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Adds to tokens of the causal form how long before them the last behaviour was."""
        if self.recency is None:
            return tokens
        return self.recency(tokens, moments, times, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "num_blocks": self.num_blocks,
            "dropout": self.dropout,
            "causal": self.causal,
            "scores": self.scores,
            "time": self.time,
            "downstream": self.downstream,
        }


def _moments(now: Moments, target: str) -> tf.Tensor:
    """The moment of each candidate of a target, or of each row: int64 [batch, candidates or 1]."""
    return ragged.pad(now[target]) if isinstance(now, dict) else now[:, tf.newaxis]
