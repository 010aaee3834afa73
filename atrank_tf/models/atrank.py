"""ATRank: attention-based modeling of heterogeneous user behavior."""

from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers import AttentionBlock, Recency
from atrank_tf.layers.behavior_encoder import TimeEncoding
from atrank_tf.layers.latent_attention import Scores
from atrank_tf.layers.time_buckets import day_bounds, fine_bounds
from atrank_tf.models.history_ranker import HistoryRanker, check_dropout
from atrank_tf.models.ranker import (
    Candidates,
    History,
    QueryTimes,
    batch_size,
    query_times_of,
    single_query_time,
)
from data_pipeline import ragged
from data_pipeline.schema import Schema

UserState = dict[str, tf.RaggedTensor]

Form = Literal["causal", "paper"]
Downstream = Literal["dot", "mlp"]


@keras.saving.register_keras_serializable("atrank_tf")
class ATRank(HistoryRanker):
    """Ranks candidates by self-attention over everything that a user did.

    `encode` embeds the behaviors of each group, projects them to one width and relates
    them by self-attention in several latent spaces. `score` lets each candidate attend
    to the result; the logit is the dot product of the candidate's vector with what it read,
    plus a bias of the object.

    It has two forms, which differ in how they know time:

    - The causal form (default). Each behavior attends to those strictly before it, and the
      gap between them is a bias of the attention. Each behavior, and each candidate at its
      query time, also knows the gap since the last time before it. The user state serves every
      query time: one encoding of a timeline trains all its targets (`rows="windows"`), and
      `extend` adds behaviors to it without reading the others again.
    - The paper's form. All behaviors attend to each other, and each knows the gap between
      itself and the query time, so the user state is of one query time.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.
        catalog: What is known of each group's objects: `TimelineData.catalog`.
        num_spaces: Latent semantic spaces, K of the paper; a divisor of width. Others call them
            heads.
        num_blocks: Self-attention blocks.
        dropout: Dropout rate, in [0, 1).
        form: How time is known: causal (biases of gaps) or paper (embeddings of gaps).
        scores: Attention scores: scaled_dot (released code) or bilinear (paper). See
            `LatentAttention`.
        time: Time in form=paper: added (paper) or concatenated (released code). See
            `BehaviorEncoder`.
        downstream: What is made of a candidate h and what it read, e: dot or mlp. dot is
            h . e / sqrt(width), mlp a network of one hidden layer of both; a bias of the object
            is added.
        recurrence: Whether to look candidates up in all that the user did before. What is found
            is added to their scores. See `Recurrence`.
        **kwargs: `width`, `embedding_width`, `feature_width` and `l2`: see `HistoryRanker`.

    Example:

    >>> data = TimelineData(toy_data())
    >>> model = ATRank(data.schema, data.catalog, width=16, embedding_width=8, feature_width=4)
    >>> ((inputs, labels),) = data.batches("train", BatchOptions(rows="windows")).take(1)
    >>> model(inputs).shape == labels.shape
    True

    Reference:
        Zhou et al., "ATRank: An Attention-Based User Behavior Modeling Framework for
        Recommendation", AAAI 2018. By default scores and feed-forward widths are those of the
        authors' released code; see `LatentAttention`.
    """

    serves_every_time = True
    is_in_paper = True

    def __init__(
        self,
        schema: Schema,
        catalog: dict[str, dict[str, np.ndarray]] | None = None,
        num_spaces: int = 4,
        num_blocks: int = 1,
        dropout: float = 0.0,
        form: Form = "causal",
        scores: Scores = "scaled_dot",
        time: TimeEncoding = "added",
        downstream: Downstream = "dot",
        recurrence: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(schema, catalog=catalog, recurrence=recurrence, **kwargs)
        for name, value in {"num_spaces": num_spaces, "num_blocks": num_blocks}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}: expected 1 or more")
        check_dropout(dropout)
        self.num_spaces = num_spaces
        self.num_blocks = num_blocks
        self.dropout = dropout
        if form not in get_args(Form):
            raise ValueError(f"form is {form!r}: expected one of {', '.join(get_args(Form))}")
        self.form = form
        causal = self.is_causal
        if causal and time != "added":
            raise ValueError(f"time is {time!r}: only of form='paper'; the causal form has biases")
        if downstream not in get_args(Downstream):
            expected = ", ".join(get_args(Downstream))
            raise ValueError(f"downstream is {downstream!r}: expected one of {expected}")
        self.scores = scores
        self.time = time
        self.downstream = downstream

        # Behaviors of the causal form know the gaps between them, none to the query time.
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

    @classmethod
    def trains_on_windows(cls, **arguments: Any) -> bool:
        """Returns whether the form is causal."""
        return arguments.get("form", "causal") == "causal"

    @classmethod
    def looks_up(cls, **arguments: Any) -> bool:
        """Returns whether a model made with some arguments looks its candidates up."""
        return arguments.get("recurrence", True)

    @property
    def is_causal(self) -> bool:
        """Whether the state serves every query time."""
        return self.form == "causal"

    def encode(
        self,
        history: History,
        query_time: QueryTimes,
        user: tf.Tensor | None = None,
        training: bool = False,
    ) -> UserState:
        """Relates the behaviors of each user: all of them, or each to those before it.

        Args:
            history: As in a batch.
            query_time: As in a batch.
            user: Not read.
            training: Whether this is a training step.

        Returns:
            The user state: by the name of each attention block that is read later the keys and
            values of each behavior, float [batch, (behaviors), 2 width]; and of the causal form
            the `times` of the behaviors, int64 [batch, (behaviors)].
        """
        if self.is_causal:
            return self._extend({}, history, batch_size(query_time), training)
        tokens = self.tokens(
            history, single_query_time(query_time), batch_size(query_time), training=training
        )
        for block in self.self_attention:
            tokens = block(tokens, block.keys_values(tokens), training=training)
        return {self.vanilla_attention.name: self.vanilla_attention.keys_values(tokens)}

    def extend(self, state: UserState, history: History, training: bool = False) -> UserState:
        """Adds behaviors to a user state of the causal form; what is in it stays as it is.

        Extending equals encoding everything at once, as long as nothing that is added
        comes before what is in the state.

        Args:
            state: What `encode` or `extend` returned.
            history: The new behaviors by group, as in a batch.
            training: Whether this is a training step.

        Returns:
            The user state of all behaviors, like that of `encode`.

        Raises:
            ValueError: The form is the paper's.
        """
        if not self.is_causal:
            raise ValueError("extend: the state of form='paper' is of one query time")
        return self._extend(state, history, state["times"].nrows(), training)

    def _extend(
        self, state: UserState, history: History, num_rows: tf.Tensor, training: bool
    ) -> UserState:
        def append(name: str, new: tf.RaggedTensor) -> tf.RaggedTensor:
            return ragged.concat_rows([state[name], new]) if state else new

        new_times = self.tokens.times(history, num_rows)
        query_times = ragged.pad(new_times)
        times = append("times", new_times)
        tokens = self.tokens(history, None, num_rows, training=training)
        tokens = self._add_recency(tokens, query_times, times, training)
        extended = {"times": times}
        for block in self.self_attention:
            keys_values = append(block.name, block.keys_values(tokens))
            tokens = block(tokens, keys_values, query_times, times, training=training)
            extended[block.name] = keys_values
        last = self.vanilla_attention
        extended[last.name] = append(last.name, last.keys_values(tokens))
        return extended

    def attention(
        self, history: History, candidates: Candidates, query_time: QueryTimes
    ) -> dict[str, tf.Tensor]:
        """Returns what every block attends to: the paper's case studies, as numbers.

        Args:
            history: As in a batch.
            candidates: As in a batch.
            query_time: As in a batch.

        Returns:
            By the name of a self-attention block its weights, float32 [spaces, batch,
            behaviors, behaviors], and by the name of a target those of vanilla attention,
            float32 [spaces, batch, candidates, behaviors]: the query's position before the
            behavior's, behaviors group after group, padded with zeros.
        """
        num_rows = batch_size(query_time)
        query_times = times = None
        if self.is_causal:
            times = self.tokens.times(history, num_rows)
            query_times = ragged.pad(times)
        tokens = self.tokens(
            history, None if self.is_causal else single_query_time(query_time), num_rows
        )
        tokens = self._add_recency(tokens, query_times, times)
        weights = {}
        for block in self.self_attention:
            keys_values = block.keys_values(tokens)
            weights[block.name] = block.attention.attention_weights(
                tokens, keys_values, query_times, times
            )
            tokens = block(tokens, keys_values, query_times, times)
        last = self.vanilla_attention
        state = {last.name: last.keys_values(tokens)}
        if times is not None:
            state["times"] = times
        return weights | self.candidate_attention(state, candidates, query_time)

    def candidate_attention(
        self, state: UserState, candidates: Candidates, query_time: QueryTimes
    ) -> dict[str, tf.Tensor]:
        """Returns what candidates attend to in a user state.

        Args:
            state: What `encode` or `extend` returned.
            candidates: As in a batch.
            query_time: As in a batch.

        Returns:
            By target float32 [spaces, batch, candidates, behaviors], padded with zeros: see
            `attention`.
        """
        attend = self.vanilla_attention.attention.attention_weights
        keys_values, times = state[self.vanilla_attention.name], state.get("times")
        weights = {}
        for target, objects in candidates.items():
            query_times = query_times_of(query_time, target)
            h = self._add_recency(self.tokens.candidates(target, objects), query_times, times)
            weights[target] = attend(h, keys_values, query_times, times)
        return weights

    def score_target(
        self,
        target: str,
        state: UserState,
        objects: tf.RaggedTensor,
        query_times: tf.Tensor,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Scores candidates by vanilla attention to the user state: f(h, e) + bias."""
        keys_values, times = state[self.vanilla_attention.name], state.get("times")
        h = self.tokens.candidates(target, objects, training=training)
        h = self._add_recency(h, query_times, times, training)
        e = self.vanilla_attention(h, keys_values, query_times, times, training=training)
        if not self.mlp:
            return self.tokens.logits(target, objects, h, e)
        x = tf.concat([h.flat_values, e.flat_values], axis=-1)
        for layer in self.mlp:
            x = layer(x)
        return self.tokens.with_bias(target, objects, x[:, 0])

    def _add_recency(
        self,
        tokens: tf.RaggedTensor,
        query_times: tf.Tensor | None,
        times: tf.RaggedTensor | None,
        training: bool = False,
    ) -> tf.RaggedTensor:
        """Adds to tokens of the causal form how long before them the last behavior was."""
        if self.recency is None:
            return tokens
        return self.recency(tokens, query_times, times, training=training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the catalog left out."""
        return {
            **super().get_config(),
            "num_spaces": self.num_spaces,
            "num_blocks": self.num_blocks,
            "dropout": self.dropout,
            "form": self.form,
            "scores": self.scores,
            "time": self.time,
            "downstream": self.downstream,
        }
